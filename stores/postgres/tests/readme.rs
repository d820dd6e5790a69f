//! The first thing that anybody reads of the library compiles and is what this crate's README shows.

#[test]
fn the_library_shows_what_this_crate_is_tested_with() {
    let own = include_str!("../README.md");
    let (_, after) = own.split_once("```rust\n").expect("the README has code");
    let (code, _) = after.split_once("```").expect("the code ends");
    assert!(include_str!("../../../README.md").contains(code), "{code}");
}
