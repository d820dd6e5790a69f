use std::fmt;

use write_behind::FlushBatch;

/// What a script is called with.
///
/// ```
/// use write_behind_redis::Arguments;
///
/// let arguments = Arguments::new().key("log").arg("login").arg(7.to_string());
/// # let _ = arguments;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    pub(crate) keys: Vec<String>,
    pub(crate) args: Vec<Vec<u8>>,
}

impl Arguments {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Arguments::default()
    }

    /// Adds a key that the script works on.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<Vec<u8>>) -> Self {
        self.args.push(arg.into());
        self
    }
}

/// How a batch is written, in the script that records it: [`HashSums`](crate::HashSums), or [`OwnScript`].
///
/// ```
/// use write_behind::{FlushBatch, Last};
/// use write_behind_redis::{Arguments, WriteScript};
///
/// /// The latest of each key, in a hash.
/// struct Latest;
///
/// impl WriteScript<String, Last<i64>> for Latest {
///     fn code(&self) -> &str {
///         "for n = 1, #args, 2 do redis.call('HSET', keys[1], args[n], args[n + 1]) end"
///     }
///
///     fn arguments(&self, batch: &FlushBatch<String, Last<i64>>) -> Arguments {
///         batch.entries().iter().fold(Arguments::new().key("latest"), |arguments, entry| {
///             arguments.arg(entry.key().as_str()).arg(entry.data().0.to_string())
///         })
///     }
/// }
/// ```
pub trait WriteScript<K, V>: Send + Sync + 'static {
    /// The body of a Lua function with the parameters `keys` and `args`, which are those of
    /// [`arguments`](Self::arguments). It returns nothing, or a list of entries that it has left out because they are
    /// refused for good, each `{place, reason}` with the place in the batch, from 0: they are given up, and all others
    /// count.
    ///
    /// **Redis takes nothing back.** A script that fails after its first write leaves that write behind, and the batch
    /// comes again. Check first, then write; use `redis.pcall` for calls that can fail.
    fn code(&self) -> &str;

    /// What it is called with.
    fn arguments(&self, batch: &FlushBatch<K, V>) -> Arguments;

    /// What is wrong with it, if anything: then there is no store. Provided: nothing.
    fn problem(&self) -> Option<String> {
        None
    }
}

/// A [`WriteScript`] of two parts: its code, and a closure that makes its arguments.
///
/// ```no_run
/// use write_behind::{Buffer, FlushBatch, exactly_once::ExactlyOnce};
/// use write_behind_redis::{Arguments, OwnScript, RedisStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let code = "for _, action in ipairs(args) do redis.call('RPUSH', keys[1], action) end";
/// let log = OwnScript::new(code, |batch: &FlushBatch<String, Vec<String>>| {
///     let actions = batch.entries().iter().flat_map(|entry| entry.data());
///     actions.fold(Arguments::new().key("log"), |arguments, action| arguments.arg(action.as_str()))
/// });
/// let store = RedisStore::connect("redis://localhost", log).await?;
/// let log = Buffer::builder().start_async(ExactlyOnce::new(store))?;
/// log.insert("ada".to_owned(), "login".to_owned())?;
/// log.shutdown_async(std::time::Duration::from_secs(10)).await?;
/// # Ok(())
/// # }
/// ```
pub struct OwnScript<F> {
    code: String,
    arguments: F,
}

impl<F> OwnScript<F> {
    /// What the code is, and how it fails: [`WriteScript::code`].
    pub fn new<K, V>(code: impl Into<String>, arguments: F) -> Self
    where
        F: Fn(&FlushBatch<K, V>) -> Arguments + Send + Sync + 'static,
    {
        OwnScript { code: code.into(), arguments }
    }
}

impl<K, V, F> WriteScript<K, V> for OwnScript<F>
where
    F: Fn(&FlushBatch<K, V>) -> Arguments + Send + Sync + 'static,
{
    fn code(&self) -> &str {
        &self.code
    }

    fn arguments(&self, batch: &FlushBatch<K, V>) -> Arguments {
        (self.arguments)(batch)
    }
}

impl<F> fmt::Debug for OwnScript<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnScript").field("code", &self.code).finish_non_exhaustive()
    }
}
