//! `drywire sim step`: the world asks, a person answers.

use super::{named, save, say};
use crate::{Failure as Failed, Verdict};
use drywire_sim::decide::{Decider, Question};
use drywire_sim::{Failure, Violation, draw, replay};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The trial
    trial: String,
    /// Answers of this seed, for the questions that you leave open
    #[arg(long)]
    seed: Option<u64>,
    /// Ask only at these sites, such as `op.kind` or `fault.`: beginnings of names
    #[arg(long, value_name = "SITE", value_delimiter = ',')]
    ask: Vec<String>,
    /// Write what was decided here
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failed> {
    let trial = named(&args.trial)?;
    say(format_args!(
        "Each question: site, whose (caller.operation.nth), how many answers. A number answers \
         it, an empty line takes what is in brackets, `rest` takes it for this site from here on, \
         `end` for everything."
    ));
    let sites = args.ask.clone();
    let mut seed = args.seed.map(Decider::seeded);
    let mut silent: BTreeMap<&'static str, ()> = BTreeMap::new();
    let mut ended = false;
    let ask = move |question: &Question| {
        let usual = seed.as_mut().map_or(0, |seed| {
            let (site, key, n) = (question.site, question.key, question.n);
            if question.rare { 0 } else { seed.below(site, key, n) }
        });
        let name = question.site.name;
        let wanted = sites.is_empty() || sites.iter().any(|s| name.starts_with(s.as_str()));
        if ended || !wanted || silent.contains_key(name) {
            return usual;
        }
        loop {
            let mut out = std::io::stdout();
            // Nobody to read the question: the answer will not come either.
            let _ = write!(out, "{name} {} of {} [{usual}]? ", question.key, question.n);
            let _ = out.flush();
            let mut line = String::new();
            if !matches!(std::io::stdin().read_line(&mut line), Ok(1..)) {
                ended = true;
                return usual;
            }
            match line.trim() {
                "" => return usual,
                "rest" => {
                    silent.insert(name, ());
                    return usual;
                }
                "end" => {
                    ended = true;
                    return usual;
                }
                number => match number.parse() {
                    Ok(n) if n < question.n => return n,
                    _ => say(format_args!(
                        "a number below {}, `rest`, `end`, or nothing",
                        question.n
                    )),
                },
            }
        }
    };
    let report = trial.run(Decider::interactive(Box::new(ask)).recording(), true);
    say(format_args!("\n{}", draw::text(&report.trace.unwrap_or_default())));
    let violation = report.violation.unwrap_or_else(|| Violation::new("none", "nothing is wrong"));
    say(format_args!("{violation}"));
    if let Some(path) = &args.output {
        let failure = Failure {
            experiment: trial.name().to_owned(),
            seed: None,
            violation: violation.clone(),
            decisions: report.decisions,
        };
        save(path, replay::write(&failure).as_bytes())?;
    }
    Ok(if violation.checker == "none" { Verdict::Good } else { Verdict::Failed })
}
