use super::Aggregate;

/// Aggregates of the same item, side by side: `(Count<f64>, Min<f64>, Max<f64>, Sum<f64>)`. The item
/// is cloned for each. Weighs what the members weigh together; accepts what all members accept; is ready
/// as soon as any member is, for most aggregates never are.
macro_rules! tuple_aggregates {
    ($($member:ident $index:tt),+) => {
        #[allow(non_snake_case, reason = "members are named after their types")]
        impl<I: Clone + Send, $($member: Aggregate<Item = I>),+> Aggregate for ($($member,)+) {
            type Item = I;

            fn start(item: I) -> Self {
                ($($member::start(item.clone()),)+)
            }

            fn absorb(&mut self, item: I) {
                $(self.$index.absorb(item.clone());)+
            }

            fn merge(&mut self, later: Self) {
                $(self.$index.merge(later.$index);)+
            }

            fn weight(&self) -> u64 {
                0 $(+ self.$index.weight())+
            }

            fn start_weight(item: &I) -> u64 {
                0 $(+ $member::start_weight(item))+
            }

            fn growth(&self, item: &I) -> u64 {
                0 $(+ self.$index.growth(item))+
            }

            fn accepts(&self, item: &I) -> bool {
                true $(&& self.$index.accepts(item))+
            }

            fn is_ready(&self) -> bool {
                false $(|| self.$index.is_ready())+
            }

            fn accepts_merge(&self, later: &Self) -> bool {
                true $(&& self.$index.accepts_merge(&later.$index))+
            }

            #[inline]
            fn lane_words() -> usize {
                let members = [$($member::lane_words()),+];
                if members.contains(&0) { 0 } else { members.iter().sum() }
            }

            #[inline]
            fn to_words(&self, words: &mut [u64]) {
                let mut rest = words;
                $(
                    let (words, others) = rest.split_at_mut($member::lane_words());
                    self.$index.to_words(words);
                    rest = others;
                )+
                let _ = rest;
            }

            #[inline]
            fn from_words(words: &[u64]) -> Option<Self> {
                let mut rest = words;
                $(
                    let (words, others) = rest.split_at($member::lane_words());
                    let $member = $member::from_words(words)?;
                    rest = others;
                )+
                let _ = rest;
                Some(($($member,)+))
            }
        }
    };
}

tuple_aggregates!(A 0, B 1);
tuple_aggregates!(A 0, B 1, C 2);
tuple_aggregates!(A 0, B 1, C 2, D 3);
tuple_aggregates!(A 0, B 1, C 2, D 3, E 4);
tuple_aggregates!(A 0, B 1, C 2, D 3, E 4, F 5);

#[cfg(test)]
mod tests {
    use super::super::{Count, Max, Min, Sum};
    use super::*;

    type Summary = (Count<i64>, Min<i64>, Max<i64>, Sum<i64>);

    #[test]
    fn feeds_every_member_the_same_item() {
        let mut summary = Summary::start(5);
        summary.absorb(-2);
        summary.merge(Summary::start(9));
        assert_eq!((summary.0.value(), summary.1, summary.2, summary.3), (3, Min(-2), Max(9), Sum(12)));
        assert_eq!(summary.weight(), 4);
    }

    #[test]
    fn refuses_an_item_that_one_member_refuses() {
        let full = Summary::start(i64::MAX);
        assert!(!full.accepts(&1));
        assert!(!full.accepts_merge(&Summary::start(1)));
        assert!(full.accepts(&0));
    }

    #[test]
    fn can_be_kept_in_lanes_if_all_members_can() {
        let summary = Summary::start(-5);
        let mut words = [0; 4];
        summary.to_words(&mut words);
        assert_eq!((Summary::lane_words(), Summary::from_words(&words)), (4, Some(summary)));
        assert_eq!(<(Sum<i64>, Vec<i64>)>::lane_words(), 0);
    }

    /// Ready when it has seen a zero.
    struct Zero(bool);

    impl Aggregate for Zero {
        type Item = i64;

        fn start(item: i64) -> Self {
            Zero(item == 0)
        }

        fn absorb(&mut self, item: i64) {
            self.0 |= item == 0;
        }

        fn merge(&mut self, later: Self) {
            self.0 |= later.0;
        }

        fn is_ready(&self) -> bool {
            self.0
        }
    }

    #[test]
    fn is_ready_as_soon_as_any_member_is() {
        let mut sum_to_zero = <(Sum<i64>, Zero)>::start(7);
        assert!(!sum_to_zero.is_ready() && !Summary::start(0).is_ready());
        sum_to_zero.absorb(0);
        assert!(sum_to_zero.is_ready());
    }

    #[test]
    fn weighs_what_its_members_weigh() {
        let mut both = <(Vec<i64>, Sum<i64>)>::start(1);
        both.absorb(2);
        assert_eq!(both.weight(), 3);
        assert_eq!(both.growth(&3), 1);
        assert_eq!(<(Vec<i64>, Sum<i64>)>::start_weight(&1), 2);
    }
}
