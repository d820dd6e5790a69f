//! What the documentation promises in passing, one test each.

#[macro_use]
mod support;

#[path = "promises/handles.rs"]
mod handles;
#[path = "promises/inserts.rs"]
mod inserts;
#[path = "promises/kinds.rs"]
mod kinds;
#[path = "promises/many.rs"]
mod many;
#[path = "promises/observers.rs"]
mod observers;
#[path = "promises/pausing.rs"]
mod pausing;
#[cfg(feature = "serde")]
#[path = "promises/settings.rs"]
mod settings;
#[path = "promises/sinks.rs"]
mod sinks;
#[path = "promises/values.rs"]
mod values;
