//! The raw shape of a load: `[load]` in a plan, or a file for `--load`.

use crate::manifest::decode::{choice, shape};
use crate::manifest::tree::Spanned;
use crate::manifest::values::{Or, Period};
use sb_workload::template::Template;

choice! {
    /// A load, or the name of one in `[loads]`.
    pub(crate) enum LoadOrName: "a load table or the name of one in `[loads]`" {
        /// The name of a load in `[loads]`; may be a template. Example: `load = "{{matrix.load}}"`.
        String => Name(Spanned<Template>),
        /// The load itself.
        Table => Inline(Box<LoadFile>),
    }
}

shape! {
    /// When requests are sent: exactly one of `iterations`, `constant` or `users` with `duration`, `stages`, `pattern`, `csv`, `trace`, `bursts` and `k6_options`.
    #[cfg_attr(test, schemars(title = "sb load"))]
    pub(crate) struct LoadFile {
        /// That many invocations, one after another. Example: `iterations = 10`.
        iterations: Option<Spanned<Or<u64>>>,
        /// Invocations per second, evenly spaced, whatever the answers do. Needs `duration`. Example: `constant = 20`.
        constant: Option<Spanned<Or<f64>>>,
        /// So many virtual users (1 to 10000), of whom each sends, waits for the answer, thinks, and sends again: a closed loop. Needs `duration`. Example: `users = 20`.
        users: Option<Spanned<Or<u64>>>,
        /// Of `users`: between an answer and the next invocation of a user, a duration or a distribution. Default: `"0s"`. Example: `"2s"`.
        think_time: Option<Spanned<ThinkTimeFile>>,
        /// How long `constant` or `users` lasts. Example: `"90s"`.
        duration: Option<Spanned<Or<Period>>>,
        /// Ramps linearly from stage to stage. Example: `stages = [ { target = 10, duration = "30s" } ]`.
        stages: Option<Spanned<Vec<Spanned<StageFile>>>>,
        /// Invocations per second at which the first stage starts. Default: 0.
        start: Option<Spanned<Or<f64>>>,
        /// Of `stages`: how often they are sent, one round after the other. Default: 1. Example: `repeat = 300`.
        repeat: Option<Spanned<Or<u64>>>,
        /// A pattern of production, twenty minutes long: `"steady"`, `"fluctuating"`, `"spikes"` or `"jump"`, one of them with `-20rps` (about 20 a second as traced), or `"bursty"`; or an hour: `"steady-72rps"` or `"fluctuating-72rps"`. Example: `pattern = "fluctuating"`.
        pattern: Option<Spanned<Template>>,
        /// A CSV file with a column `InvocationsPerMinute`, relative to this file. Example: `csv = "trace.csv"`.
        csv: Option<Spanned<Template>>,
        /// A CSV file with a column `start_s`, relative to this file: an invocation is sent at each of these times, in seconds from the start. Example: `trace = "starts.csv"`.
        trace: Option<Spanned<Template>>,
        /// Of `pattern` and `csv`: the mean invocations per second. Example: `20`.
        rate: Option<Spanned<Or<f64>>>,
        /// Of `pattern` and `csv`, instead of `rate`: how much more than was traced. Example: `2`.
        scale_factor: Option<Spanned<Or<f64>>>,
        /// How they are scaled: `"linear"` (default), or `"compound"`, which raises high rates more than low ones.
        scale_type: Option<Spanned<Template>>,
        /// Of `pattern` and `csv`: what is left out at the beginning, in whole seconds. Default: `"3m"`.
        skip: Option<Spanned<Or<Period>>>,
        /// Of `pattern` and `csv`: fixes the fluctuation within minutes. Default: 0, so that every trial gets the same.
        seed: Option<Spanned<Or<u64>>>,
        /// Of `pattern` and `csv`, within a second: `"even"` (default), `"uniform"` (random moments), or `"poisson"` (the number is random too).
        arrivals: Option<Spanned<Template>>,
        /// So many invocations together, at each of these times. Example: `bursts = { size = 20, at = ["0s", "60s"] }`.
        bursts: Option<Spanned<BurstsFile>>,
        /// A JSON file with options for k6, which then say when to send; for workloads with a script. Relative to this file. Example: `k6_options = "options.json"`.
        k6_options: Option<Spanned<Template>>,
        /// What an answer is expected to take: for the virtual users in the k6 options, and to refuse a load for which this machine may open too few connections. Default: `"1s"`.
        expected_latency: Option<Spanned<Or<Period>>>,
        /// Plays the load this many times faster. Default: 1. Example: `120` plays a minute in half a second.
        speed: Option<Spanned<Or<f64>>>,
        /// Share of failed requests (0 to 1) above which a trial is invalid. Default: 0.01. Example: `0.05`.
        max_error_rate: Option<Spanned<Or<f64>>>,
        /// Share of planned invocations that were never sent (0 to 1) above which a trial is invalid. Default: 0.01. Example: `0.001`.
        max_dropped: Option<Spanned<Or<f64>>>,
        /// Lateness of a sent invocation above which a trial is invalid. Example: `"50ms"`.
        max_lateness: Option<Spanned<Or<Period>>>,
    }
}

choice! {
    /// How long a user thinks: always as long, or drawn anew each time.
    pub(crate) enum ThinkTimeFile: "a duration, or a table such as { min = \"1s\", max = \"3s\" }" {
        /// Always as long. Example: `"2s"`.
        String => Fixed(Or<Period>),
        /// Drawn from a distribution.
        Table => Distribution(Box<ThinkDistributionFile>),
    }
}

shape! {
    /// A distribution of think times: `min` and `max` (uniform), `mean` (exponential), or `median` and `p99` (log-normal).
    pub(crate) struct ThinkDistributionFile {
        /// With `max`: every length between the two is equally likely. Example: `"1s"`.
        min: Option<Spanned<Or<Period>>>,
        /// With `min`. Example: `"3s"`.
        max: Option<Spanned<Or<Period>>>,
        /// Alone: mostly short, sometimes long, as between the events of a Poisson process. Example: `"2s"`.
        mean: Option<Spanned<Or<Period>>>,
        /// With `p99`: half are shorter. Example: `"1s"`.
        median: Option<Spanned<Or<Period>>>,
        /// With `median`: of 100, 99 are shorter. Example: `"10s"`.
        p99: Option<Spanned<Or<Period>>>,
    }
}

shape! {
    /// One ramp.
    pub(crate) struct StageFile {
        /// Invocations per second at the end of the stage. Example: `10`.
        target: Spanned<Or<f64>>,
        /// How long the ramp takes; `"0s"` is a jump. Example: `"30s"`.
        duration: Spanned<Or<Period>>,
    }
}

shape! {
    /// Invocations that leave together.
    pub(crate) struct BurstsFile {
        /// How many. Example: `20`.
        size: Spanned<Or<u64>>,
        /// When, from the start, at least one time. Example: `["0s", "60s"]`.
        at: Spanned<Vec<Spanned<Or<Period>>>>,
    }
}
