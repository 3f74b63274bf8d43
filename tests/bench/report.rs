//! The table of what was measured, on the terminal and as `target/bench.json`.

use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

/// What is aimed at.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(aim) => write!(f, "≥ {aim}"),
            Self::AtMost(aim) => write!(f, "≤ {aim}"),
        }
    }
}

impl Serialize for Aim {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// One row of the table.
#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    value: f64,
    floor: Option<f64>,
    ratio: Option<f64>,
    aim: Aim,
    met: bool,
}

/// Several rounds of one measurement, each beside its floor.
#[derive(Debug, Default)]
pub struct Rounds(Vec<(f64, f64)>);

impl Rounds {
    pub fn add(&mut self, value: f64, floor: f64) {
        self.0.push((value, floor));
    }

    /// The median of all values, of all floors, and of the rounds' ratios: noise hits a round and its floor alike.
    fn medians(&self) -> (f64, f64, f64) {
        (
            median(self.0.iter().map(|(value, _)| *value)),
            median(self.0.iter().map(|(_, floor)| *floor)),
            median(self.0.iter().map(|(value, floor)| value / floor)),
        )
    }

    /// The rounds' ratios from the lowest to the highest.
    fn spread(&self) -> String {
        let mut ratios: Vec<f64> = self.0.iter().map(|(value, floor)| value / floor).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ")
    }
}

/// The middle one of some figures.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

/// All rows so far.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// A row that is read as a ratio to its floor.
    pub fn ratio(&mut self, what: &'static str, rounds: &Rounds, aim: Aim) {
        let (value, floor, ratio) = rounds.medians();
        self.note(format!("{what}: ratios {}", rounds.spread()));
        self.add(Row { what, value, floor: Some(floor), ratio: Some(ratio), aim, met: false }, ratio);
    }

    /// A row that is read as it is: the median of some figures.
    pub fn plain(&mut self, what: &'static str, figures: &[f64], aim: Aim) {
        let value = median(figures.iter().copied());
        let all: Vec<String> = figures.iter().map(|figure| short(*figure)).collect();
        self.note(format!("{what}: {}", all.join(" ")));
        self.add(Row { what, value, floor: None, ratio: None, aim, met: false }, value);
    }

    /// A row beside a floor that is a number and no measurement.
    pub fn beside(&mut self, what: &'static str, figures: &[f64], floor: f64, aim: Aim) {
        let mut rounds = Rounds::default();
        figures.iter().for_each(|figure| rounds.add(*figure, floor));
        self.ratio(what, &rounds, aim);
    }

    /// What is no row of the table, beside its floor all the same.
    pub fn aside(&mut self, what: &str, rounds: &Rounds) {
        let (value, floor, ratio) = rounds.medians();
        self.note(format!("{what}: {} beside {}, ratio {}", short(value), short(floor), short(ratio)));
    }

    fn add(&mut self, mut row: Row, judged: f64) {
        row.met = match row.aim {
            Aim::AtLeast(aim) => judged >= aim,
            Aim::AtMost(aim) => judged <= aim,
        };
        self.rows.push(row);
    }

    /// Something that is worth knowing and is no row. Said at once.
    pub fn note(&mut self, words: String) {
        eprintln!("   {words}");
        self.notes.push(words);
    }

    pub fn print(&self) {
        let head = ["what", "measured", "floor", "ratio", "aim", "met"].map(str::to_owned);
        let optional = |figure: Option<f64>| figure.map_or(String::new(), short);
        let lines = self.rows.iter().map(|row| {
            let met = if row.met { "yes" } else { "no" };
            let (floor, ratio) = (optional(row.floor), optional(row.ratio));
            [row.what.to_owned(), short(row.value), floor, ratio, row.aim.to_string(), met.to_owned()]
        });
        let table: Vec<[String; 6]> = std::iter::once(head).chain(lines).collect();
        let widths: Vec<usize> =
            (0..6).map(|column| table.iter().map(|line| line[column].chars().count()).max().unwrap()).collect();
        println!();
        for (number, line) in table.iter().enumerate() {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
            if number == 0 {
                println!("|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
            }
        }
        println!("\nRead ratios. Each is the median over rounds in which the measurement and its floor take turns.");
        for note in &self.notes {
            println!("  {note}");
        }
    }

    pub fn write(&self) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench.json");
        std::fs::write(&path, serde_json::to_string_pretty(&self.rows).unwrap() + "\n").unwrap();
        println!("\n{}", path.display());
    }
}

/// Three figures are more than a noisy machine can promise.
fn short(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1_000.0 => format!("{:.0}", figure),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 0.1 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}
