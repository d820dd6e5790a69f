//! Encryption of what goes to Postgres and comes from there: where the address says `sslmode=require`, and then the
//! server's certificate is verified as well.

use deadpool_postgres::{Manager, ManagerConfig};
use tokio_postgres::config::SslMode;
use tokio_postgres::{CancelToken, Config, NoTls};
#[cfg(feature = "tls")]
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::Error;

#[derive(Clone)]
pub(crate) enum Tls {
    /// In plain text.
    Off,
    #[cfg(feature = "tls")]
    On(MakeRustlsConnect),
}

impl Tls {
    /// `prefer`, which is Postgres's default, would mean to take whatever certificate comes, and so protect from
    /// nobody.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        if config.get_ssl_mode() != SslMode::Require {
            return Ok(Tls::Off);
        }
        #[cfg(feature = "tls")]
        return MakeRustlsConnect::with_native_certs().map(|(tls, _)| Tls::On(tls)).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Error::Definition(format!("no certificates to trust: {}", problems.join("; ")))
        });
        #[cfg(not(feature = "tls"))]
        Err(Error::Definition("sslmode=require needs the feature `tls`".to_owned()))
    }

    pub(crate) fn manager(&self, mut config: Config, recycling: ManagerConfig) -> Manager {
        match self {
            Tls::Off => {
                config.ssl_mode(SslMode::Disable);
                Manager::from_config(config, NoTls, recycling)
            }
            #[cfg(feature = "tls")]
            Tls::On(tls) => Manager::from_config(config, tls.clone(), recycling),
        }
    }

    pub(crate) async fn cancel(&self, query: CancelToken) -> Result<(), tokio_postgres::Error> {
        match self {
            Tls::Off => query.cancel_query(NoTls).await,
            #[cfg(feature = "tls")]
            Tls::On(tls) => query.cancel_query(tls.clone()).await,
        }
    }
}
