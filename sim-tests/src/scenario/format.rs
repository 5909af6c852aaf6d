//! The text of a scenario.

use super::{Protocol, Scenario};
use crate::caller::Habits;
use crate::decide::Chance;
use crate::fault::{Fault, Faults};
use crate::plan::{Nemesis, Strike, Toward};
use core::fmt;
use core::time::Duration;
use drywire::Tick;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What is wrong with a scenario, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError(String);

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for ScenarioError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    about: String,
    protocol: Name,
    #[serde(default = "one")]
    seeds: u64,
    callers: Callers,
    #[serde(default)]
    server: Server,
    #[serde(default)]
    expect: Expect,
    #[serde(default)]
    fault: Vec<Entry>,
}

fn one() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Name {
    Memcached,
    Sudoku,
    Chat,
    Guarded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Callers {
    count: u32,
    ops: u32,
    depth: Option<u32>,
    patience: Option<Span>,
    think: Option<Span>,
    stay: Option<Span>,
    #[serde(default)]
    odds: BTreeMap<String, u32>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Server {
    connections: Option<usize>,
    no_progress: Option<Span>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Expect {
    #[serde(default)]
    answered: u64,
    #[serde(default)]
    dead: u64,
    #[serde(default)]
    unhurt: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    kind: String,
    #[serde(default)]
    at: Span,
    #[serde(default)]
    callers: Vec<u32>,
    #[serde(rename = "for")]
    lasts: Option<Span>,
    least: Option<Span>,
    most: Option<Span>,
    every: Option<Span>,
    bytes: Option<u64>,
    connections: Option<u32>,
    toward: Option<Way>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Way {
    Server,
    Callers,
}

/// A time: `250us`, `40ms`, `1.5s`.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
struct Span(Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
        units
            .into_iter()
            .find_map(|(unit, scale)| {
                let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
                Duration::try_from_secs_f64(number * scale).ok().map(Self)
            })
            .ok_or_else(|| format!("`{text}` is not a time such as 250us, 40ms or 1.5s"))
    }
}

/// Nothing lasts longer: everything owed must arrive within two minutes after the faults.
const LONGEST: Duration = Duration::from_secs(60);

/// What each kind takes besides `kind` and `at`. All but those about the server and storms take
/// `callers` too.
const KINDS: &[(&str, &[&str])] = &[
    ("latency", &["least", "most"]),
    ("cut", &["bytes"]),
    ("thin", &["bytes"]),
    ("narrow", &["bytes"]),
    ("hold", &["for"]),
    ("partition", &["for"]),
    ("hole", &["toward", "for"]),
    ("reset", &["toward", "bytes"]),
    ("half-close", &[]),
    ("abort", &[]),
    ("vanish", &[]),
    ("deaf", &["for"]),
    ("hang", &["for"]),
    ("drip", &["bytes", "every", "for"]),
    ("storm", &["connections", "for"]),
    ("crash", &["for"]),
    ("power-loss", &["for"]),
    ("drain", &["for"]),
    ("freeze", &["for"]),
];
const OF_THE_SERVER: &[&str] = &["storm", "crash", "power-loss", "drain", "freeze"];

/// Its name in files.
pub(super) const fn kind(nemesis: Nemesis) -> &'static str {
    match nemesis {
        Nemesis::Latency { .. } => "latency",
        Nemesis::Cut { .. } => "cut",
        Nemesis::Thin { .. } => "thin",
        Nemesis::Narrow { .. } => "narrow",
        Nemesis::Hold { .. } => "hold",
        Nemesis::Partition { .. } => "partition",
        Nemesis::Hole { .. } => "hole",
        Nemesis::Reset { .. } => "reset",
        Nemesis::HalfClose => "half-close",
        Nemesis::Abort => "abort",
        Nemesis::Vanish => "vanish",
        Nemesis::Deaf { .. } => "deaf",
        Nemesis::Hang { .. } => "hang",
        Nemesis::Drip { .. } => "drip",
        Nemesis::Storm { .. } => "storm",
        Nemesis::Crash { .. } => "crash",
        Nemesis::PowerLoss { .. } => "power-loss",
        Nemesis::Drain { .. } => "drain",
        Nemesis::Freeze { .. } => "freeze",
    }
}

impl Scenario {
    /// Reads the scenario `name` from its text.
    ///
    /// # Errors
    /// What is wrong, where, and what is allowed.
    pub fn read(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let file: File = toml::from_str(text).map_err(|e| ScenarioError(e.to_string()))?;
        let within = |what: &str, n: u64, most: u64| {
            if (1..=most).contains(&n) {
                Ok(())
            } else {
                Err(ScenarioError(format!("{what} = {n}: allowed are 1 to {most}")))
            }
        };
        within("seeds", file.seeds, 1000)?;
        within("callers.count", file.callers.count.into(), 50)?;
        within("callers.ops", file.callers.ops.into(), 10_000)?;
        within("callers.depth", file.callers.depth.unwrap_or(1).into(), 1000)?;
        let connections = file.server.connections.unwrap_or(1024);
        within("server.connections", connections as u64, 4096)?;
        let mut odds = Faults::NONE;
        for (name, one_in) in &file.callers.odds {
            let fault = Fault::named(name).filter(|fault| ODDS.contains(fault));
            let Some(fault) = fault else {
                let all: Vec<&str> = ODDS.iter().map(|f| f.name()).collect();
                let text = format!("callers.odds.{name}: allowed are {}", all.join(", "));
                return Err(ScenarioError(text));
            };
            within(&format!("callers.odds.{name}"), (*one_in).into(), 10_000)?;
            odds = odds.with(fault, Chance::one_in(*one_in));
        }
        let usual = Habits::default();
        let habits = Habits {
            ops: file.callers.ops,
            depth: file.callers.depth.unwrap_or(usual.depth),
            patience: file.callers.patience.map_or(usual.patience, |p| p.0),
            think: file.callers.think.map_or(usual.think, |t| t.0),
            stay: file.callers.stay.map_or(usual.stay, |s| s.0),
            ..usual
        };
        let mut plan = Vec::new();
        for (nth, entry) in (1..).zip(&file.fault) {
            let strike = entry.strike(file.callers.count);
            plan.push(strike.map_err(|why| ScenarioError(format!("fault {nth}: {why}")))?);
        }
        plan.sort_by_key(|s| s.at);
        let no_progress = file.server.no_progress.map_or(Duration::from_secs(10), |p| p.0);
        if matches!(file.protocol, Name::Guarded) && no_progress.subsec_nanos() > 0 {
            let text = "server.no-progress: whole seconds are allowed for the guarded protocol";
            return Err(ScenarioError(text.to_owned()));
        }
        if let Some(who) = file.expect.unhurt.iter().find(|who| **who >= file.callers.count) {
            let text = format!("expect.unhurt = {who}: there are {}, from 0", file.callers.count);
            return Err(ScenarioError(text));
        }
        Ok(Self {
            name: name.to_owned(),
            about: file.about,
            protocol: match file.protocol {
                Name::Memcached => Protocol::Memcached,
                Name::Sudoku => Protocol::Sudoku,
                Name::Chat => Protocol::Chat,
                Name::Guarded => Protocol::Guarded,
            },
            seeds: file.seeds,
            callers: file.callers.count,
            habits,
            odds,
            connections,
            no_progress,
            answered: file.expect.answered,
            dead: file.expect.dead,
            unhurt: file.expect.unhurt,
            plan,
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// That it cannot be read, or what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let wrong = |e: &dyn fmt::Display| ScenarioError(format!("{}: {e}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::read(&name, &text).map_err(|e| wrong(&e))
    }
}

/// What callers may do around any operation.
const ODDS: &[Fault] = &[Fault::HalfClose, Fault::Abort, Fault::Vanish, Fault::Deaf, Fault::Drip];

impl Entry {
    fn strike(&self, count: u32) -> Result<Strike, String> {
        let Some((kind, takes)) = KINDS.iter().find(|(kind, _)| *kind == self.kind) else {
            let all: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
            return Err(format!("no kind `{}`; there are: {}", self.kind, all.join(", ")));
        };
        let given = [
            ("for", self.lasts.is_some()),
            ("least", self.least.is_some()),
            ("most", self.most.is_some()),
            ("every", self.every.is_some()),
            ("bytes", self.bytes.is_some()),
            ("connections", self.connections.is_some()),
            ("toward", self.toward.is_some()),
        ];
        let alone = OF_THE_SERVER.contains(kind);
        let wrong = |what: &str| {
            let about = if alone { "at" } else { "at, callers" };
            Err(format!("{kind} {what}; it takes: {about}, {}", takes.join(", ")))
        };
        for (what, given) in given {
            match (takes.contains(&what), given) {
                (true, false) => return wrong(&format!("needs `{what}`")),
                (false, true) => return wrong(&format!("has no `{what}`")),
                _ => {}
            }
        }
        if alone && !self.callers.is_empty() {
            return wrong("has no `callers`");
        }
        if let Some(who) = self.callers.iter().find(|who| **who >= count) {
            return Err(format!("caller {who}: there are {count}, from 0"));
        }
        let lasts = self.lasts.unwrap_or_default().0;
        let (at, bytes) = (self.at.0, self.bytes.unwrap_or_default());
        if lasts > LONGEST || at > LONGEST {
            return Err(format!("{kind}: `at` and `for` are at most {LONGEST:?}"));
        }
        if bytes == 0 && ["thin", "narrow", "drip"].contains(kind) {
            return Err(format!("{kind}: `bytes` is at least 1"));
        }
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        let toward = match self.toward.unwrap_or(Way::Server) {
            Way::Server => Toward::Server,
            Way::Callers => Toward::Callers,
        };
        let nemesis = match *kind {
            "latency" => {
                let (least, most) =
                    (self.least.unwrap_or_default().0, self.most.unwrap_or_default().0);
                if most < least || most > LONGEST {
                    return Err(format!("latency: `most` is from `least` to {LONGEST:?}"));
                }
                Nemesis::Latency { least, most }
            }
            "cut" => Nemesis::Cut { bytes: size },
            "thin" => Nemesis::Thin { rate: bytes },
            "narrow" => Nemesis::Narrow { bytes: size },
            "hold" => Nemesis::Hold { lasts },
            "partition" => Nemesis::Partition { lasts },
            "hole" => Nemesis::Hole { toward, lasts },
            "reset" => Nemesis::Reset { toward, byte: bytes },
            "half-close" => Nemesis::HalfClose,
            "abort" => Nemesis::Abort,
            "vanish" => Nemesis::Vanish,
            "deaf" => Nemesis::Deaf { lasts },
            "hang" => Nemesis::Hang { lasts },
            "drip" => {
                let every = self.every.unwrap_or_default().0;
                Nemesis::Drip { bytes: size, every, lasts }
            }
            "storm" => {
                let connections = self.connections.unwrap_or_default();
                if !(1..=1000).contains(&connections) {
                    return Err("storm: `connections` is 1 to 1000".to_owned());
                }
                Nemesis::Storm { connections, lasts }
            }
            "crash" => Nemesis::Crash { lasts },
            "power-loss" => Nemesis::PowerLoss { lasts },
            "drain" => Nemesis::Drain { lasts },
            _ => Nemesis::Freeze { lasts },
        };
        Ok(Strike { at: Tick::ZERO + at, callers: self.callers.clone(), server: None, nemesis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Arm;

    const HEAD: &str =
        "about = \"a test\"\nprotocol = \"memcached\"\n[callers]\ncount = 2\nops = 10\n";

    fn with(fault: &str) -> Result<Scenario, ScenarioError> {
        Scenario::read("test", &format!("{HEAD}[[fault]]\n{fault}"))
    }

    #[test]
    fn each_kind_is_read_under_its_own_name() {
        for (name, takes) in KINDS {
            let mut text = format!("kind = \"{name}\"\nat = \"40ms\"\n");
            for what in *takes {
                text += match *what {
                    "bytes" => "bytes = 7\n",
                    "connections" => "connections = 7\n",
                    "toward" => "toward = \"callers\"\n",
                    "for" => "for = \"1.5s\"\n",
                    "least" => "least = \"1ms\"\n",
                    "most" => "most = \"2ms\"\n",
                    _ => "every = \"250us\"\n",
                };
            }
            let scenario = with(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(kind(scenario.plan[0].nemesis), *name);
            assert_eq!(scenario.plan[0].at, Tick::from_millis(40));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (fault, words) in [
            ("kind = \"storms\"", &["no kind `storms`", "storm, crash"][..]),
            ("kind = \"hold\"", &["hold needs `for`", "at, callers, for"]),
            ("kind = \"hold\"\nfor = \"1s\"\nbytes = 3", &["hold has no `bytes`"]),
            ("kind = \"crash\"\nfor = \"1s\"\ncallers = [0]", &["crash has no `callers`"]),
            ("kind = \"hold\"\nfor = \"1 hour\"", &["`1 hour` is not a time", "40ms"]),
            ("kind = \"hold\"\nfor = \"90s\"", &["at most 60s"]),
            ("kind = \"abort\"\ncallers = [2]", &["caller 2: there are 2"]),
            ("kind = \"abort\"\nwhen = 3", &["when"]),
        ] {
            let error = with(fault).expect_err(fault).to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        let odds = Scenario::read("test", &format!("{HEAD}odds = {{ crash = 3 }}"));
        assert!(odds.expect_err("refused").to_string().contains("half-close, abort"));
    }

    #[test]
    fn what_an_arm_cannot_do_is_refused_by_name() {
        let thin = with("kind = \"thin\"\nbytes = 1000").expect("a scenario");
        assert_eq!(thin.refusals(Arm::Turmoil), ["thin: turmoil has no bandwidth"]);
        assert!(thin.run(Arm::Turmoil, 1).is_err(), "and not run");
        let freeze = with("kind = \"freeze\"\nfor = \"1s\"").expect("a scenario");
        assert!(freeze.refusals(Arm::Core).is_empty());
        for arm in [Arm::Turmoil, Arm::Kernel] {
            assert!(freeze.refusals(arm)[0].starts_with("freeze: "));
        }
    }
}
