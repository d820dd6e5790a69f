//! The contract of the design, line by line: a test is named after the line that it holds the buffer
//! to, and runs with every driver.

#[macro_use]
mod support;

#[path = "contract/bounds.rs"]
mod bounds;
#[path = "contract/data.rs"]
mod data;
#[path = "contract/failure.rs"]
mod failure;
#[path = "contract/intervals.rs"]
mod intervals;
#[path = "contract/life.rs"]
mod life;
#[path = "contract/rest.rs"]
mod rest;
#[path = "contract/staging.rs"]
mod staging;
#[path = "contract/timing.rs"]
mod timing;
#[path = "contract/triggers.rs"]
mod triggers;
#[path = "contract/volume.rs"]
mod volume;

/// The guide publishes the contract and names tests: they have to be there.
#[test]
fn the_published_contract_names_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("src/guide/contract.md")).unwrap();
    let tests: String = ["tests/contract", "tests/faults"]
        .into_iter()
        .flat_map(|folder| root.join(folder).read_dir().unwrap())
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let named: Vec<_> = guide.split('`').filter(|word| word.starts_with('c') && word.contains('_')).collect();
    let named = named.into_iter().filter(|word| word[1..3].parse::<u8>().is_ok() && !word.ends_with('…'));
    let missing: Vec<_> = named.clone().filter(|name| !tests.contains(&format!("fn {name}("))).collect();
    assert!(named.count() > 50 && missing.is_empty(), "{missing:?}");
}
