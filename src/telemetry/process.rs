//! What the operating system says about this process, under the names that all Prometheus clients
//! use. Read when somebody asks for the metrics, from the few files below `/proc/self`.
//!
//! The one place outside `journal/`, `store/` and `config/` that opens files: they are the kernel's,
//! not ours, and hold no state. Where there is no `/proc` (macOS) the metrics are absent, not 0.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Names and help texts of the metrics, in the order of `Reading::values`.
pub const METRICS: [(&str, &str); 6] = [
    ("process_cpu_seconds_total", "CPU time that the process has used, in user mode and kernel."),
    ("process_open_fds", "File descriptors that are open."),
    ("process_max_fds", "File descriptors that may be open."),
    ("process_virtual_memory_bytes", "Address space of the process."),
    ("process_resident_memory_bytes", "Memory that the process holds, resident."),
    ("process_start_time_seconds", "Unix time at which the process started."),
];

/// Ticks in a second where the kernel does not say: its value on all usual machines.
const USUAL_TICKS: u64 = 100;
/// The entry of the auxiliary vector that holds them.
const AT_CLKTCK: u64 = 17;

/// Reads the process's files whenever it is asked.
#[derive(Debug)]
pub struct ProcessCollector {
    descriptions: Vec<Desc>,
    proc: PathBuf,
}

/// What was found; absent where a file was not there or not understood.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reading {
    cpu_seconds: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
    virtual_bytes: Option<f64>,
    resident_bytes: Option<f64>,
    start_seconds: Option<f64>,
}

// === impl ProcessCollector ===

impl ProcessCollector {
    /// A collector of this process.
    #[must_use]
    pub fn new() -> Self {
        let description = |(name, help): &(&str, &str)| {
            let described =
                Desc::new((*name).to_owned(), (*help).to_owned(), Vec::new(), HashMap::new());
            described.expect("names in the table are constants and valid: a test collects them")
        };
        Self { descriptions: METRICS.iter().map(description).collect(), proc: "/proc".into() }
    }
}

impl Default for ProcessCollector {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let values = Reading::take(&self.proc).values();
        let known = METRICS.iter().zip(values);
        known.filter_map(|((name, help), value)| Some(family(name, help, value?))).collect()
    }
}

// === impl Reading ===

impl Reading {
    fn take(proc: &Path) -> Self {
        let own = proc.join("self");
        let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let stat = text(own.join("stat"));
        let status = text(own.join("status"));
        let auxiliary = fs::read(own.join("auxv")).unwrap_or_default();
        let ticks = ticks_per_second(&auxiliary).unwrap_or(USUAL_TICKS) as f64;
        let seconds = |fields: &[usize]| -> Option<f64> {
            let all: Option<Vec<u64>> = fields.iter().map(|at| stat_field(&stat, *at)).collect();
            Some(all?.iter().sum::<u64>() as f64 / ticks)
        };
        let boot = number_after(&text(proc.join("stat")), "btime");
        // The listing itself holds one descriptor open.
        let open = fs::read_dir(own.join("fd")).map(|entries| entries.count().saturating_sub(1));
        Self {
            cpu_seconds: seconds(&[14, 15]),
            open_fds: open.ok().map(|count| count as f64),
            max_fds: number_after(&text(own.join("limits")), "Max open files"),
            virtual_bytes: number_after(&status, "VmSize:").map(|kib| kib * 1024.0),
            resident_bytes: number_after(&status, "VmRSS:").map(|kib| kib * 1024.0),
            start_seconds: boot.zip(seconds(&[22])).map(|(boot, since)| boot + since),
        }
    }

    fn values(self) -> [Option<f64>; METRICS.len()] {
        [
            self.cpu_seconds,
            self.open_fds,
            self.max_fds,
            self.virtual_bytes,
            self.resident_bytes,
            self.start_seconds,
        ]
    }
}

/// A field of `/proc/self/stat` by its number in proc(5). The second, the program's name in
/// parentheses, may itself hold spaces and parentheses.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// The number behind a word at the beginning of a line.
fn number_after(text: &str, word: &str) -> Option<f64> {
    let behind = text.lines().find_map(|line| line.strip_prefix(word))?;
    behind.split_ascii_whitespace().next()?.parse().ok()
}

/// The clock's ticks in a second, from the auxiliary vector: pairs of key and value.
fn ticks_per_second(auxiliary: &[u8]) -> Option<u64> {
    let word = |bytes: &[u8]| bytes.try_into().map(usize::from_ne_bytes).map(|n| n as u64).ok();
    let mut pairs = auxiliary.chunks_exact(2 * size_of::<usize>());
    let pair = pairs.find_map(|pair| {
        let (key, value) = pair.split_at_checked(size_of::<usize>())?;
        (word(key)? == AT_CLKTCK).then(|| word(value))
    });
    pair.flatten().filter(|ticks| *ticks > 0)
}

fn family(name: &str, help: &str, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    let kind = if name.ends_with("_total") {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
        MetricType::COUNTER
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        MetricType::GAUGE
    };
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that fields are found by their number whatever the program is called, and that what
    /// is not understood is absent.
    #[test]
    fn the_kernels_text_is_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 900 0 3 0 250 50 0 0 20 0 9 0 8640000 1024 256";
        assert_eq!(stat_field(stat, 14), Some(250));
        assert_eq!(stat_field(stat, 22), Some(8_640_000));
        assert_eq!(stat_field(stat, 99), None);
        assert_eq!(stat_field("", 14), None);
        assert_eq!(number_after("VmSize:\t 12 kB\nVmRSS:\t     9 kB\n", "VmRSS:"), Some(9.0));
        assert_eq!(
            number_after("Max open files            unlimited  1048576 files", "Max open files"),
            None
        );
        let vector: Vec<u8> = [6_usize, 4096, 17, 250, 0, 0].map(usize::to_ne_bytes).concat();
        assert_eq!(ticks_per_second(&vector), Some(250));
        assert_eq!(ticks_per_second(&[1, 2, 3]), None);
    }

    /// Guarantees that without `/proc` every metric is absent instead of 0.
    #[test]
    fn without_proc_there_is_nothing() {
        let nowhere = tempfile::tempdir().expect("a folder");
        assert_eq!(Reading::take(nowhere.path()), Reading::default());
        let collector = ProcessCollector { proc: nowhere.path().into(), ..ProcessCollector::new() };
        assert!(collector.collect().is_empty());
    }

    /// Guarantees plausible values of this very process: some memory, some time, a start in the past.
    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_read() {
        let reading = Reading::take(Path::new("/proc"));
        assert!(reading.resident_bytes.is_some_and(|bytes| bytes > 1e6), "{reading:?}");
        assert!(reading.virtual_bytes >= reading.resident_bytes, "{reading:?}");
        assert!(reading.cpu_seconds.is_some_and(|seconds| seconds < 1e6), "{reading:?}");
        assert!(reading.open_fds.is_some_and(|count| count >= 3.0), "{reading:?}");
        let now = crate::base::clock::Clock::system().now().as_seconds();
        let age = reading.start_seconds.map(|start| now - start);
        assert!(age.is_some_and(|age| (-2.0..86_400.0).contains(&age)), "{reading:?}");
        assert_eq!(ProcessCollector::new().collect().len(), METRICS.len());
    }
}
