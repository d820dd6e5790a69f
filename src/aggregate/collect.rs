use super::Aggregate;

/// Keeps every item in insert order. Weighs its length. Absorbing is O(1) amortised.
impl<T: Send + Sync + 'static> Aggregate for Vec<T> {
    type Item = T;

    fn start(item: T) -> Self {
        vec![item]
    }

    fn absorb(&mut self, item: T) {
        self.push(item);
    }

    fn merge(&mut self, mut later: Self) {
        self.append(&mut later);
    }

    fn weight(&self) -> u64 {
        self.len() as u64
    }

    fn growth(&self, _item: &T) -> u64 {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_item_in_order_and_weighs_its_length() {
        let mut list = Vec::start(1);
        list.absorb(2);
        list.merge(vec![3, 4]);
        assert_eq!(list, [1, 2, 3, 4]);
        assert_eq!(Aggregate::weight(&list), 4);
        assert_eq!(list.growth(&5), 1);
    }
}
