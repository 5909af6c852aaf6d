//! `drywire hub sub`.

use super::{check_topic, tcp};
use crate::address::Address;
use crate::lines::{Signals, Teller, clean, put};
use crate::link::{Link, News, sleep_until};
use crate::{Failure, Verdict, units};
use core::time::Duration;
use drywire::hub::client::{Client, Event, Step, Value};
use serde::Serialize;
use std::io::{self, IsTerminal};

/// Follow topics: the last value of each at once, then every one.
///
/// With one topic each line of standard output is a message; with more it is the topic, a tab
/// and the message. What else happens goes to standard error. A lost connection is made again; the
/// hub numbers nothing, so what was published meanwhile is missed but for the last value: that is
/// said before the first value after it, and also whether this is the same as the last one before.
///
/// Exit codes: 0 good, 1 a topic was refused, messages were lost, or the server could not be
/// reached, 2 wrong command line.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  drywire hub sub 127.0.0.1:4001 utc_time             the time, every second
  drywire hub sub 127.0.0.1:4001 scores/final --once  the score, now
  drywire hub sub 127.0.0.1:4001 a b --json | jq .")]
pub(crate) struct Args {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    addr: Address,
    /// Which topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Print events as JSON, one a line
    #[arg(long)]
    json: bool,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = units::count)]
    count: Option<u64>,
    /// End after one message: the same as --count 1
    #[arg(long, conflicts_with = "count")]
    once: bool,
    /// How long to try to reach the server before giving up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::time)]
    retry: Duration,
}

/// An event in JSON. Topics and contents that are no UTF-8 have replacement characters.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Report<'a> {
    /// `resumed`: the first after a lost connection, others may be missing before it; `repeat`:
    /// and it is the same as the last.
    Value { topic: &'a str, content: &'a str, resumed: bool, repeat: bool },
}

pub(super) async fn run(args: &Args) -> Result<Verdict, Failure> {
    let addr = tcp(&args.addr)?;
    args.topics.iter().try_for_each(|topic| check_topic(topic))?;
    let mut signals = Signals::new().map_err(Failure::system)?;
    let (mut link, mut client) = (Link::new(addr), Client::new());
    for topic in &args.topics {
        client.subscribe(topic.as_bytes(), &mut link.out);
    }
    let left = if args.once { Some(1) } else { args.count };
    let several = client.topics().count() > 1;
    let mut printer = Printer {
        teller: Teller { json: args.json },
        several,
        terminal: io::stdout().is_terminal(),
        left,
        wrong: false,
    };
    let mut last = String::from("no answer");
    while printer.left != Some(0) {
        let give_up = link.down_since().map(|since| since + args.retry);
        tokio::select! {
            news = link.next() => match news {
                News::Up => {
                    client.connected(&mut link.out);
                    printer.teller.connected();
                }
                News::Down { why, again_in } => {
                    client.disconnected();
                    printer.teller.down(&why, again_in);
                    last = why;
                }
                News::Input => read(&mut link, &mut client, &mut printer),
                News::Finished => {}
            },
            () = sleep_until(give_up) => {
                return Err(Failure::system(format!("gave up: {last}")));
            }
            () = signals.next() => break,
        }
    }
    Ok(if printer.wrong { Verdict::Failed } else { Verdict::Good })
}

fn read(link: &mut Link, client: &mut Client, printer: &mut Printer) {
    let mut used = 0;
    let (input, _) = link.parts();
    let result = loop {
        if printer.left == Some(0) {
            break Ok(());
        }
        match client.step(&input[used..]) {
            Ok(Step::Need(_)) => break Ok(()),
            Ok(Step::Event { event, used: n }) => {
                used += n;
                printer.event(&event);
            }
            Err(fault) => break Err(fault),
        }
    };
    link.consume(used);
    match result {
        Ok(()) => link.is_good(),
        Err(fault) => link.fail(fault.what),
    }
}

struct Printer {
    teller: Teller,
    /// There is more than one topic.
    several: bool,
    terminal: bool,
    /// Messages until the end.
    left: Option<u64>,
    wrong: bool,
}

impl Printer {
    fn event(&mut self, event: &Event<'_>) {
        match *event {
            Event::Value(value) => {
                self.value(value);
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
            Event::Error(words) => {
                self.wrong = true;
                self.teller.error(&String::from_utf8_lossy(words));
            }
        }
    }

    fn value(&self, value: Value<'_>) {
        let Value { topic, content, resumed, repeat } = value;
        if self.teller.json {
            let (topic, content) =
                (String::from_utf8_lossy(topic), String::from_utf8_lossy(content));
            return self.teller.print(&Report::Value {
                topic: &topic,
                content: &content,
                resumed,
                repeat,
            });
        }
        if resumed {
            let same = if repeat { ", and this one is the same as the last before" } else { "" };
            let topic = clean(topic);
            self.teller.note(format_args!(
                "* {topic}: after a lost connection; values may be missing here{same}"
            ));
        }
        put(|out| {
            let mut write = |bytes: &[u8]| match self.terminal {
                true => out.write_all(clean(bytes).as_bytes()),
                false => out.write_all(bytes),
            };
            if self.several {
                write(topic)?;
                write(b"\t")?;
            }
            write(content)?;
            out.write_all(b"\n")
        });
    }
}
