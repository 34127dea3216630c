//! What every benchmark needs: the clock, quantiles, programs and their memory, and a line of the answer.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A number from the environment: how a smaller run is asked for.
pub fn wanted(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(default)
}

/// Where the database of the benchmarks are kept between programs: `SMSOTP_BENCH_DIR`, or a directory among the temporary ones.
pub fn directory() -> PathBuf {
    let dir =
        std::env::var_os("SMSOTP_BENCH_DIR").map_or_else(|| std::env::temp_dir().join("smsotp-bench"), PathBuf::from);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// How long something took.
pub fn timed<A>(run: impl FnOnce() -> A) -> (A, Duration) {
    let begun = Instant::now();
    let answer = run();
    (answer, begun.elapsed())
}

/// Times of one thing.
#[derive(Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn extend(&mut self, others: &Times) {
        self.0.extend(&others.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// How many per second, one after another.
    pub fn rate(&self) -> f64 {
        self.0.len() as f64 / self.total().as_secs_f64()
    }

    /// In milliseconds.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((q * last as f64).round() as usize).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

/// The median of some ratios: one ratio for each round, so that a slow moment of the machine hits both sides.
pub fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Whether a goal is "at most" or "at least".
pub enum Goal {
    Most(f64),
    Least(f64),
}

/// Prints one line of the answer; tells whether the goal holds.
pub fn tell(what: &str, goal: Goal, measured: f64) -> bool {
    let (holds, sign, limit) = match goal {
        Goal::Most(limit) => (measured <= limit, "<=", limit),
        Goal::Least(limit) => (measured >= limit, ">=", limit),
    };
    println!("{what:<64} {measured:>9.3}   goal {sign} {limit:<7} {}", if holds { "holds" } else { "DOES NOT HOLD" });
    holds
}

/// Builds one of the floor programs in the profile of this benchmark, and tells where it is.
pub fn floor(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    // target/PROFILE/deps/BENCH-HASH
    let profile_dir = here.parent().unwrap().parent().unwrap();
    let profile = match profile_dir.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        profile => profile,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", name, "--profile", profile])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the floor program {name} cannot be built");
    profile_dir.join("examples").join(name)
}

/// A program with its arguments and all of its environment.
#[derive(Clone)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// The exit code that it has to have.
    pub exit: i32,
}

impl Program {
    pub fn new(path: impl AsRef<Path>, args: &[&str]) -> Program {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Program { path: path.as_ref().to_owned(), args, env: Vec::new(), exit: 0 }
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Program {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run(&self) -> Duration {
        let mut command = self.command();
        let (status, took) = timed(|| command.status().unwrap());
        if status.code() != Some(self.exit) {
            let output = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
            panic!(
                "{} {:?} ended with {status}: {}{}",
                self.path.display(),
                self.args,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        took
    }

    /// Its peak resident memory in MiB. The meter is a program of its own, because a child begins with its parent's peak.
    pub fn peak_mib(&self, meter: &Path) -> f64 {
        let mut metered = self.clone();
        metered.args.insert(0, self.path.to_str().unwrap().to_owned());
        metered.path = meter.to_owned();
        let output = metered.command().stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        let kib: f64 = text.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(f64::NAN);
        kib / 1024.0
    }
}

/// Runs programs in turn, again and again; the times of each.
pub fn interleaved(programs: &[Program], rounds: u64) -> Vec<Times> {
    let mut times = vec![Times::default(); programs.len()];
    for round in 0..=rounds {
        for (program, times) in programs.iter().zip(&mut times) {
            let took = program.run();
            // The first round warms the caches.
            if round > 0 {
                times.add(took);
            }
        }
    }
    times
}

/// The exit code of a benchmark: only where `SMSOTP_BENCH_STRICT` asks for it does a goal that does not hold fail it.
pub fn verdict(holds: &[bool]) -> std::process::ExitCode {
    let strict = std::env::var_os("SMSOTP_BENCH_STRICT").is_some();
    if strict && holds.contains(&false) { std::process::ExitCode::FAILURE } else { std::process::ExitCode::SUCCESS }
}
