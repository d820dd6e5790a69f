//! Encryption of what goes to Postgres and comes from there: where the address says `sslmode=require`, and then
//! the server's certificate is verified as well.

use deadpool_postgres::{Manager, ManagerConfig};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};

/// Makes connections, encrypted or not, as the address says.
///
/// `prefer`, which is Postgres's default, would mean to take whatever certificate comes, and so protect from
/// nobody.
///
/// # Errors
///
/// There are no certificates to trust.
pub(super) fn manager(mut config: Config, recycling: ManagerConfig) -> Result<Manager, String> {
    if config.get_ssl_mode() != SslMode::Require {
        config.ssl_mode(SslMode::Disable);
        return Ok(Manager::from_config(config, NoTls, recycling));
    }
    #[cfg(feature = "tls")]
    return match tokio_postgres_rustls::MakeRustlsConnect::with_native_certs() {
        Ok((tls, _)) => Ok(Manager::from_config(config, tls, recycling)),
        Err(problems) => Err(format!("no certificates to trust: {problems:?}")),
    };
    #[cfg(not(feature = "tls"))]
    Err("this build has no TLS: build it with `--features tls`".to_owned())
}
