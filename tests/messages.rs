//! What the compiler says to those who hold it wrong: the message names what is wrong and what to do.

#![cfg(not(shuttle))]

use std::fs;
use std::path::Path;
use std::process::Command;

/// A program, and what the compiler has to say about it.
const PROGRAMS: [(&str, &str, &[&str]); 6] = [
    (
        "async_sink_given_to_start",
        "struct Sink;
        impl AsyncDataBuffer<String, Sum<i64>> for Sink {
            async fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
                Ok(())
            }
        }
        fn main() {
            let _: Buffer<String, Sum<i64>> = Buffer::builder().start(Sink).unwrap();
        }",
        &[
            "`Sink` is not a sink",
            "an async sink (`AsyncDataBuffer`, `AsyncBatchDataBuffer`) is started with `start_async`",
        ],
    ),
    (
        "blocking_sink_given_to_start_async",
        "struct Sink;
        impl DataBuffer<String, Sum<i64>> for Sink {
            fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
                Ok(())
            }
        }
        fn main() {
            let _: Buffer<String, Sum<i64>> = Buffer::builder().start_async(Sink).unwrap();
        }",
        &["`Sink` is not an async sink", "is started with `start`"],
    ),
    (
        "sink_for_other_keys",
        "struct Sink;
        impl DataBuffer<String, Sum<i64>> for Sink {
            fn handle_flush(&self, _: &String, _: &Sum<i64>, _: &FlushContext) -> Result<(), FlushError> {
                Ok(())
            }
        }
        fn main() {
            let _: Buffer<u64, Sum<i64>> = Buffer::builder().start(Sink).unwrap();
        }",
        &["expected `Buffer<u64, Sum<i64>>`, found `Buffer<String, Sum<i64>>`"],
    ),
    (
        "number_as_aggregate",
        "fn main() {
            let _ = Buffer::<String, i64>::builder();
        }",
        &["`i64` is not an aggregate", "to keep a total of numbers use `Sum<i64>`"],
    ),
    (
        "key_that_cannot_be_cloned",
        "#[derive(Hash, PartialEq, Eq)]
        struct Page(String);
        fn main() {
            let _ = Buffer::<Page, Sum<i64>>::builder();
        }",
        &["`Page` cannot be the key of a buffer", "Hash + Eq + Clone + Send + Sync + 'static"],
    ),
    (
        "key_that_cannot_be_hashed",
        "#[derive(PartialEq, Clone)]
        struct Price(f64);
        fn main() {
            let buffer = Buffer::builder().start(|_: &Price, _: &Sum<i64>| Ok::<(), String>(())).unwrap();
            drop(buffer);
        }",
        &["is not a sink", "keys are `Hash + Eq + Clone + Send + Sync + 'static`"],
    ),
];

/// Has the compiler check the programs, as targets of one package that depends on this crate.
fn check(folder: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = format!(
        "[package]\nname = \"held-wrong\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nwrite-behind = {{ path = {root:?}, features = [\"tokio\"] }}\n"
    );
    fs::create_dir_all(folder.join("src/bin")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    for (name, program, _) in PROGRAMS {
        let program = format!("#![allow(unused_imports)]\nuse write_behind::*;\n{program}\n");
        fs::write(folder.join(format!("src/bin/{name}.rs")), program).unwrap();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(folder).args(["check", "--quiet", "--bins", "--keep-going", "--offline"]);
    command.env("CARGO_TERM_COLOR", "never").env_remove("RUSTFLAGS");
    command.arg("--target-dir").arg(folder.join("target"));
    let output = command.output().expect("cargo runs");
    assert!(!output.status.success(), "none of them compiles");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn the_compiler_names_what_is_wrong_and_what_to_do() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages");
    let said = check(&folder);
    for (name, _, expected) in PROGRAMS {
        let file = format!("src/bin/{name}.rs");
        let about: String = said.split("error[").filter(|error| error.contains(&file)).collect();
        for words in expected {
            assert!(about.contains(words), "{name}: not a word of {words:?} in\n{about}\nof\n{said}");
        }
    }
}
