//! A campaign as a page that can be committed.

use core::fmt::Write as _;
use drywire_sim::Summary;
use indicatif::{HumanCount, HumanDuration};
use std::process::Command;

/// What `command` came to for each trial, at the commit of the working directory.
pub(super) fn markdown(command: &str, of: &[(String, Summary)]) -> String {
    let total: u64 = of.iter().map(|(_, s)| s.seeds).sum();
    let mut out = format!(
        "# {} seeds\n\n    {command}\n\nat commit {}.\n\n\
         | trial | seeds | operations | events | simulated | violations | undecided | never hit | digest |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|---|\n",
        HumanCount(total),
        commit()
    );
    for (name, s) in of {
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {} | {} | {} | `{:016x}` |",
            HumanCount(s.seeds),
            HumanCount(s.ops),
            HumanCount(s.events),
            HumanDuration(s.time),
            s.failures.len(),
            s.undecided,
            s.missing.len() + s.never.len(),
            s.digest
        );
    }
    for (name, s) in of {
        let rate = if s.failures.is_empty() {
            format!("With 95 % confidence, the failure rate is below 3/{} per seed. ", s.seeds)
        } else {
            String::new()
        };
        let _ = write!(
            out,
            "\n## {name}\n\n{rate}Faults by the phase of the connection that they hit:\n\n\
             ```text\n{}\n```\n",
            s.matrix
        );
        if !s.marks.is_empty() {
            let marks: Vec<_> =
                s.marks.iter().map(|(mark, n)| format!("{mark}: {}", HumanCount(*n))).collect();
            let _ = writeln!(out, "\nSeeds that came to: {}.", marks.join("; "));
        }
        for f in &s.failures {
            let _ = writeln!(out, "\nSeed {}: {}", f.seed.unwrap_or_default(), f.violation);
        }
    }
    out
}

/// The commit, and whether something was changed since.
fn commit() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output();
    match git {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        _ => "unknown: not in a git working copy".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drywire_sim::{Campaign, find};

    #[test]
    fn the_page_says_what_was_run_and_what_came_of_it() {
        let trial = find("memcached").expect("the trial");
        let summary = Campaign::new(&*trial, 0..20).run();
        let digest = format!("{:016x}", summary.digest);
        let page = markdown("drywire sim run memcached", &[("memcached".to_owned(), summary)]);
        for part in ["# 20 seeds", "    drywire sim run memcached", "| memcached | 20 |", &digest]
            .into_iter()
            .chain(["below 3/20 per seed", "\nfault ", "\ncrash "])
        {
            assert!(page.contains(part), "no `{part}` in\n{page}");
        }
    }
}
