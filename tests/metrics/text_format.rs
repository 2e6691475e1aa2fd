//! A strict reader of Prometheus' text format, version 0.0.4: it refuses what a lenient one lets pass,
//! so that a page it accepts is accepted everywhere.

use std::collections::{BTreeMap, BTreeSet};

/// Names and values of labels.
pub type Labels = BTreeMap<String, String>;

/// A family as the page shows it.
#[derive(Clone, Debug, Default)]
pub struct Family {
    pub name: String,
    pub help: String,
    pub kind: String,
    pub samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

/// Reads a whole page.
///
/// # Errors
/// What is wrong with it first.
pub fn parse(text: &str) -> Result<Vec<Family>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut families: Vec<Family> = Vec::new();
    for line in text.lines() {
        read_line(line, &mut families).map_err(|what| format!("{what}: {line}"))?;
    }
    let mut names = BTreeSet::new();
    for family in &families {
        let check = check(family);
        check.map_err(|what| format!("{}: {what}", family.name))?;
        if !names.insert(&family.name) {
            return Err(format!("{} comes twice", family.name));
        }
    }
    let mut series = BTreeSet::new();
    for sample in families.iter().flat_map(|family| &family.samples) {
        if !series.insert((&sample.name, &sample.labels)) {
            return Err(format!("{} {:?} comes twice", sample.name, sample.labels));
        }
    }
    Ok(families)
}

fn read_line(line: &str, families: &mut Vec<Family>) -> Result<(), String> {
    if let Some(help) = line.strip_prefix("# HELP ") {
        let (name, help) = help.split_once(' ').ok_or("no help text")?;
        let (name, help) = (name.to_owned(), unescape(help, false)?);
        families.push(Family { name, help, ..Family::default() });
        return Ok(());
    }
    let family = families.last_mut().ok_or("nothing before the first help text")?;
    if let Some(kind) = line.strip_prefix("# TYPE ") {
        let (name, kind) = kind.split_once(' ').ok_or("no type")?;
        let first = family.kind.is_empty() && family.samples.is_empty();
        if name != family.name || !first || !["counter", "gauge", "histogram"].contains(&kind) {
            return Err("a type out of place".to_owned());
        }
        family.kind = kind.to_owned();
        return Ok(());
    }
    if family.kind.is_empty() {
        return Err("a sample before its type".to_owned());
    }
    family.samples.push(read_sample(line)?);
    Ok(())
}

fn read_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, rest) = line.split_at(end);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = value.strip_prefix(' ').ok_or("no space before the value")?;
    Ok(Sample { name: name.to_owned(), labels, value: read_value(value)? })
}

/// Labels up to the closing brace, and what comes behind it.
fn read_labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    loop {
        let (name, behind) = rest.split_once("=\"").ok_or("a label without a value")?;
        let legal = name.bytes().enumerate().all(|(at, byte)| {
            byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit())
        });
        if !legal || name.is_empty() || name.starts_with("__") {
            return Err(format!("label name `{name}`"));
        }
        let quote = closing_quote(behind).ok_or("an open quote")?;
        let (value, behind) = behind.split_at(quote);
        if labels.insert(name.to_owned(), unescape(value, true)?).is_some() {
            return Err(format!("label `{name}` twice"));
        }
        match behind.strip_prefix("\",") {
            Some(more) => rest = more,
            None => return Ok((labels, behind.strip_prefix("\"}").ok_or("no closing brace")?)),
        }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                other => return Err(format!("escape of {other:?}")),
            },
            other => other,
        });
    }
    Ok(plain)
}

fn read_value(text: &str) -> Result<f64, String> {
    match text {
        "NaN" => Ok(f64::NAN),
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        // Neither a second column, which would be a time, nor words that Rust takes for numbers.
        _ if text.bytes().all(|b| b.is_ascii_digit() || b"+-.e".contains(&b)) => {
            text.parse().map_err(|error| format!("value: {error}"))
        }
        _ => Err("no number".to_owned()),
    }
}

fn check(family: &Family) -> Result<(), String> {
    let Family { name, help, kind, samples } = family;
    if help.trim().is_empty() {
        return Err("an empty help text".to_owned());
    }
    let legal = name.bytes().enumerate().all(|(at, byte)| {
        byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit())
    });
    if !legal || name.is_empty() {
        return Err("an illegal name".to_owned());
    }
    if samples.is_empty() {
        return Err("no samples".to_owned());
    }
    match kind.as_str() {
        "histogram" => return check_histogram(family),
        "counter" => {
            let grows = samples.iter().all(|s| s.value.is_finite() && s.value >= 0.0);
            if !name.ends_with("_total") || !grows {
                return Err("no counter".to_owned());
            }
        }
        _ => {}
    }
    match samples.iter().find(|sample| sample.name != *name) {
        Some(sample) => Err(format!("{} in it", sample.name)),
        None => Ok(()),
    }
}

fn check_histogram(family: &Family) -> Result<(), String> {
    #[derive(Default)]
    struct Seen {
        buckets: Vec<(f64, f64)>,
        sum: Option<f64>,
        count: Option<f64>,
    }
    let mut series: BTreeMap<Labels, Seen> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let le = labels.remove("le");
        let seen = series.entry(labels).or_default();
        match (sample.name.strip_prefix(&family.name), le) {
            (Some("_bucket"), Some(le)) => seen.buckets.push((read_value(&le)?, sample.value)),
            (Some("_sum"), None) => seen.sum = Some(sample.value),
            (Some("_count"), None) => seen.count = Some(sample.value),
            _ => return Err(format!("{} in it", sample.name)),
        }
    }
    for (labels, Seen { buckets, sum, count }) in series {
        let rising = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let whole = buckets.iter().all(|(_, n)| *n >= 0.0 && n.fract() == 0.0);
        let last = buckets.last().copied();
        if !rising || !whole || sum.is_none() || count.is_none() {
            return Err(format!("{labels:?}: buckets {buckets:?}, sum {sum:?}, count {count:?}"));
        }
        if last != count.map(|count| (f64::INFINITY, count)) {
            return Err(format!("{labels:?}: ends with {last:?}, count {count:?}"));
        }
    }
    Ok(())
}
