//! Every world in `replays/` runs again, and nothing is wrong with it.
//!
//! A run that a campaign found failing is kept there once its bug is fixed, shrunk, under a name
//! that says what was wrong: `drywire sim run` writes such files, `drywire sim draw` shows them.

use drywire_sim::{find, replay};
use std::path::Path;

#[test]
fn what_was_fixed_stays_fixed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("replays");
    let mut wrong = Vec::new();
    let mut worlds = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a text");
        let failure = replay::read(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let trial = find(&failure.experiment)
            .unwrap_or_else(|| panic!("{}: no such trial", path.display()));
        let report = replay::replay(&*trial, &failure, false);
        if let Some(violation) = report.violation {
            wrong.push(format!("{}: {violation}", path.display()));
        }
        // A site that was renamed would leave an empty world, which is always right.
        let kept = report.decisions.len();
        if report.ops == 0 || kept != failure.decisions.len() {
            wrong.push(format!(
                "{}: {} operations; {kept} of {} decisions were asked for",
                path.display(),
                report.ops,
                failure.decisions.len()
            ));
        }
        worlds += 1;
    }
    assert!(worlds > 0, "no world in {}", folder.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
