//! The raw shape of a load: `[load]` in a plan, or a file for `--load`.

use crate::manifest::decode::{choice, shape};
use crate::manifest::template::Template;
use crate::manifest::tree::Spanned;
use crate::manifest::values::{Or, Period};

choice! {
    /// A load, or the name of one in `[loads]`.
    pub enum LoadOrName: "a load table or the name of one in `[loads]`" {
        /// The name of a load in `[loads]`; may be a template. Example: `load = "{{matrix.load}}"`.
        String => Name(Spanned<Template>),
        /// The load itself.
        Table => Inline(Box<LoadFile>),
    }
}

shape! {
    /// When requests are sent: exactly one of `iterations`, `constant` with `duration`, and `stages`.
    #[schemars(title = "sb load")]
    pub struct LoadFile {
        /// That many invocations, one after another. Example: `iterations = 10`.
        iterations: Option<Spanned<Or<u64>>>,
        /// Invocations per second, evenly spaced, whatever the answers do. Needs `duration`. Example: `constant = 20`.
        constant: Option<Spanned<Or<f64>>>,
        /// How long `constant` lasts. Example: `"90s"`.
        duration: Option<Spanned<Or<Period>>>,
        /// Ramps linearly from stage to stage. Example: `stages = [ { target = 10, duration = "30s" } ]`.
        stages: Option<Spanned<Vec<Spanned<StageFile>>>>,
        /// Invocations per second at which the first stage starts. Default: 0.
        start: Option<Spanned<Or<f64>>>,
        /// Plays the load this many times faster. Default: 1. Example: `120` plays a minute in half a second.
        speed: Option<Spanned<Or<f64>>>,
        /// Share of failed invocations (0 to 1) above which a trial is invalid. Example: `0.01`.
        max_error_rate: Option<Spanned<Or<f64>>>,
        /// Share of planned invocations that were never sent (0 to 1) above which a trial is invalid. Example: `0.001`.
        max_dropped: Option<Spanned<Or<f64>>>,
        /// Lateness of a sent invocation above which a trial is invalid. Example: `"50ms"`.
        max_lateness: Option<Spanned<Or<Period>>>,
    }
    unsupported {
        "pattern" => "use `constant` with `duration`, `stages` or `iterations`",
        "csv" => "use `stages`, one per step of the trace",
        "bursts" => "use `iterations`, or short `stages` with a high target",
        "k6_options" => "use `constant` with `duration`, or `stages`, which say the same as k6's arrival-rate executors",
        "scale_factor" => "give the rate itself with `constant` or `stages`",
        "scale_type" => "give the rate itself with `constant` or `stages`",
        "skip" => "leave the skipped part out of `stages`",
        "rate" => "`rate` belongs to `pattern`; the rate of an even load is `constant = 20` with `duration`",
    }
}

shape! {
    /// One ramp.
    pub struct StageFile {
        /// Invocations per second at the end of the stage. Example: `10`.
        target: Spanned<Or<f64>>,
        /// How long the ramp takes. Example: `"30s"`.
        duration: Spanned<Or<Period>>,
    }
}
