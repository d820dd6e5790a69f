use super::scenario::Scenario;

/// What the scenarios are played with.
pub(super) struct Props<'a, K, V> {
    pub(super) key: Box<dyn Fn(u32) -> K + 'a>,
    pub(super) data: Box<dyn Fn(i64) -> V + 'a>,
    pub(super) poison: Option<Box<dyn Fn(u32) -> K + 'a>>,
    pub(super) refuse: Option<Refuse<'a, K>>,
    /// The sink refuses what comes of a lower epoch.
    pub(super) journaled: bool,
    pub(super) excluded: Vec<Scenario>,
}

type Refuse<'a, K> = Box<dyn FnMut(Option<&K>) + 'a>;
