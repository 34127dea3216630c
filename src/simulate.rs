//! Traffic to try a policy on: made up by a scenario or read from a trace, played against a defence, and counted. Pure: `app` plays it
//! through the engine.

mod column;
mod figures;
mod history;
mod parameters;
mod play;
mod random;
mod rules;
mod scenario;
mod trace;
mod traffic;

pub use column::Column;
pub use figures::Figures;
pub use history::History;
pub use parameters::Parameters;
pub use play::{Answer, Defence, play};
pub use rules::Rules;
pub use scenario::make;
pub use trace::{read, write};
pub use traffic::{Ask, Known, Traffic};
