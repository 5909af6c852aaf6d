//! The line before each chunk, byte by byte: nothing of it is ever buffered or read twice.

/// Where in a chunk line the next byte stands. Kept in the state as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    /// The first digit of the size.
    First = 0,
    /// After a digit.
    Digit = 1,
    /// The first byte of an extension's name.
    Name = 2,
    /// After a byte of a name.
    InName = 3,
    /// After the equals sign.
    Value = 4,
    /// After a byte of a plain value.
    InValue = 5,
    /// Inside quotes.
    Quoted = 6,
    /// After a backslash inside quotes.
    Escaped = 7,
    /// After the closing quote.
    AfterQuote = 8,
    /// After the CR.
    Lf = 9,
}

impl Place {
    pub(super) const fn of(number: u8) -> Self {
        match number {
            1 => Self::Digit,
            2 => Self::Name,
            3 => Self::InName,
            4 => Self::Value,
            5 => Self::InValue,
            6 => Self::Quoted,
            7 => Self::Escaped,
            8 => Self::AfterQuote,
            9 => Self::Lf,
            _ => Self::First,
        }
    }
}

/// What a byte is at its place.
pub(super) enum Next {
    /// Another digit of the size.
    Digit(u64),
    /// Go on there.
    Go(Place),
    /// The line is complete.
    End,
    /// It must not stand there.
    Bad,
}

/// `chunk-size *( ";" token [ "=" ( token / quoted-string ) ] ) CR LF` (RFC 9112, 7.1), without
/// the whitespace that senders must not generate.
pub(super) fn next(place: Place, byte: u8) -> Next {
    use Place::{AfterQuote, Digit, Escaped, First, InName, InValue, Lf, Name, Quoted, Value};
    match (place, byte) {
        (First | Digit, b'0'..=b'9') => Next::Digit(u64::from(byte - b'0')),
        (First | Digit, b'a'..=b'f') => Next::Digit(u64::from(byte - b'a') + 10),
        (First | Digit, b'A'..=b'F') => Next::Digit(u64::from(byte - b'A') + 10),
        (Digit | InName | InValue | AfterQuote, b'\r') => Next::Go(Lf),
        (Digit | InName | InValue | AfterQuote, b';') => Next::Go(Name),
        (Name | InName, _) if is_token(byte) => Next::Go(InName),
        (InName, b'=') => Next::Go(Value),
        (Value | InValue, _) if is_token(byte) => Next::Go(InValue),
        (Value, b'"') => Next::Go(Quoted),
        (Quoted, b'"') => Next::Go(AfterQuote),
        (Quoted, b'\\') => Next::Go(Escaped),
        (Quoted | Escaped, b'\t' | b' '..=b'~' | 0x80..) => Next::Go(Quoted),
        (Lf, b'\n') => Next::End,
        _ => Next::Bad,
    }
}

/// `tchar` of RFC 9110, 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
