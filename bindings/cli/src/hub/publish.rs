//! `drywire hub pub`.

use super::{check_topic, tcp};
use crate::address::Address;
use crate::lines::{Lines, Signals, Teller, clean};
use crate::link::{Link, News, sleep_until};
use crate::{Failure, Verdict, units};
use core::time::Duration;
use drywire::hub::client::{Client, Event, Step};

/// Bytes on their way to the server above which no further line is read.
const AHEAD: usize = 256 << 10;

/// It has nothing to say on standard output.
const TELLER: Teller = Teller { json: false };

/// Publish to a topic: one message, or each line of standard input.
///
/// A message is one line of up to 65536 bytes. The command ends well when the server has taken
/// everything and refused nothing. A connection that is lost on the way ends it: nobody knows then
/// which of the last messages were heard, and it says how many were sent.
///
/// Exit codes: 0 all published, 1 something was refused, lost, or the server could not be reached,
/// 2 wrong command line.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  drywire hub pub 127.0.0.1:4001 scores/final 3:2
  tail -f app.log | drywire hub pub 127.0.0.1:4001 logs/app")]
pub(crate) struct Args {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    addr: Address,
    /// Where to: any line of up to 255 bytes
    topic: String,
    /// What; without it, or with -, the lines of standard input
    content: Option<String>,
    /// How long to try to reach the server before giving up
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::time)]
    retry: Duration,
}

pub(super) async fn run(args: &Args) -> Result<Verdict, Failure> {
    let addr = tcp(&args.addr)?;
    check_topic(&args.topic)?;
    let mut one = args.content.as_ref().filter(|content| *content != "-");
    let mut lines = one.is_none().then(Lines::of_stdin);
    let mut signals = Signals::new().map_err(Failure::system)?;
    let (mut link, mut client) = (Link::new(addr), Client::new());
    let (mut published, mut refused, mut up) = (0u64, false, false);
    loop {
        let give_up = link.down_since().map(|since| since + args.retry);
        let may_read = up && link.out.len() < AHEAD;
        let next = async {
            match &mut lines {
                Some(lines) => lines.next().await,
                None => one.take().map(|content| Ok(content.clone().into_bytes())),
            }
        };
        tokio::select! {
            biased;
            news = link.next() => match news {
                News::Up => {
                    up = true;
                    client.connected(&mut link.out);
                }
                News::Down { why, .. } if up => {
                    let errors = if refused { " (the server's words are above)" } else { "" };
                    return Err(Failure::system(format!(
                        "{why}{errors}; {published} messages were sent, it is not known how many of them were published"
                    )));
                }
                News::Down { why, again_in } => {
                    TELLER.down(&why, again_in);
                }
                News::Input => refused |= errors(&mut link, &mut client)?,
                News::Finished => {
                    return Ok(if refused { Verdict::Failed } else { Verdict::Good });
                }
            },
            line = next, if may_read && !link.is_finishing() => match line {
                None => link.finish(),
                Some(content) => {
                    if !client.publish(args.topic.as_bytes(), &content?, &mut link.out) {
                        return Err(Failure::system(format!(
                            "message {}: content is one line of up to 65536 bytes; {published} before it were sent",
                            published + 1
                        )));
                    }
                    published += 1;
                }
            },
            () = sleep_until(give_up) => {
                return Err(Failure::system("gave up: the server cannot be reached"));
            }
            () = signals.next() => {
                if !up || link.is_finishing() {
                    return Err(Failure::system("interrupted"));
                }
                // What was read is published.
                link.finish();
            }
        }
    }
}

/// Shows what the server refuses. True if there was something.
fn errors(link: &mut Link, client: &mut Client) -> Result<bool, Failure> {
    let (mut used, mut refused) = (0, false);
    let (input, _) = link.parts();
    while let Step::Event { event, used: n } = client
        .step(&input[used..])
        .map_err(|fault| Failure::system(format!("this is no hub: {}", fault.what)))?
    {
        used += n;
        if let Event::Error(words) = event {
            refused = true;
            TELLER.note(format_args!("! {}", clean(words)));
        }
    }
    link.consume(used);
    Ok(refused)
}
