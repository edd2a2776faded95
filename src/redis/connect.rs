//! Making connections, and keeping them for as long as the process lives.
//!
//! The client library reconnects by itself, but its connection task ends for good in rare cases (a full command buffer in the
//! moment of a disconnect, a reply it takes for a wrong configuration), so each connection has a keeper that starts it again.

use std::{path::Path, time::Duration};

use fred::{
    clients::{Pool, SubscriberClient},
    error::{Error, ErrorKind},
    interfaces::ClientLike,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, pem::PemObject},
    },
    types::{
        Builder, ConnectHandle,
        config::{
            Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TcpConfig, TlsConfig, TlsConnector,
            UnresponsiveConfig,
        },
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ConnectError, RedisSettings};

/// One server, or a cluster; with an `s`, encrypted.
const SCHEMES: [&str; 4] = ["redis", "rediss", "redis-cluster", "rediss-cluster"];

/// How long a connection that is not needed any more may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Messages that may wait on a connection for commands, to which nobody listens.
const MESSAGES_UNHEARD: usize = 4;

/// Connected clients for commands.
pub async fn pool(settings: &RedisSettings, stop: &CancellationToken) -> Result<Pool, ConnectError> {
    let builder = builder(settings, MESSAGES_UNHEARD)?;
    let mut clients = Vec::with_capacity(settings.connections);
    for _ in 0..settings.connections.max(1) {
        clients.push(start(|| builder.build(), settings, stop).await?);
    }
    Pool::from_clients(clients).map_err(|error| wrong(&error))
}

/// A connected client for listening.
pub async fn subscriber(
    settings: &RedisSettings,
    stop: &CancellationToken,
) -> Result<SubscriberClient, ConnectError> {
    let builder = builder(settings, settings.message_buffer)?;
    start(|| builder.build_subscriber_client(), settings, stop).await
}

/// Connects, trying again until `start_wait` is over, and leaves the connection to its keeper. Each attempt has a client of
/// its own: one whose first attempt was refused may lose its queue of commands to the next, and then answers nothing.
async fn start<C>(
    build: impl Fn() -> Result<C, Error>,
    settings: &RedisSettings,
    stop: &CancellationToken,
) -> Result<C, ConnectError>
where
    C: ClientLike + 'static,
{
    let until = Instant::now() + settings.start_wait;
    loop {
        let client = build().map_err(|error| wrong(&error))?;
        let refused = match tokio::time::timeout_at(until, client.init()).await {
            Ok(Ok(connection)) => {
                tokio::spawn(keep(client.clone(), connection, settings.reconnect_max, stop.clone()));
                return Ok(client);
            }
            Ok(Err(error)) => error,
            Err(_) => Error::new(ErrorKind::Timeout, "the connection is not answered"),
        };
        match refused.kind() {
            ErrorKind::Config | ErrorKind::Url | ErrorKind::Tls => return Err(wrong(&refused)),
            ErrorKind::Auth => return Err(ConnectError::Refused(refused.to_string())),
            _ if Instant::now() + settings.reconnect_min >= until => {
                let waited_ms = settings.start_wait.as_millis();
                return Err(ConnectError::NoAnswer { waited_ms, cause: refused.to_string() });
            }
            _ => tokio::time::sleep(settings.reconnect_min).await,
        }
    }
}

/// Starts the connection again whenever its task has ended, until `stop`.
async fn keep<C>(client: C, mut connection: ConnectHandle, pause: Duration, stop: CancellationToken)
where
    C: ClientLike,
{
    while let Some(ended) = stop.run_until_cancelled(&mut connection).await {
        tracing::warn!(client = client.id(), ?ended, "a connection to Redis gave up; it is started again");
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
        connection = client.connect();
    }
    let _ = tokio::time::timeout(GOODBYE, client.quit()).await;
    connection.abort();
}

/// `message_buffer`: messages that may wait to be heard; the room for them is taken at once, several times over.
fn builder(settings: &RedisSettings, message_buffer: usize) -> Result<Builder, ConnectError> {
    let mut builder = Builder::from_config(config(settings)?);
    let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    builder
        .set_policy(ReconnectPolicy::new_exponential(
            0,
            millis(settings.reconnect_min),
            millis(settings.reconnect_max),
            2,
        ))
        .set_performance_config(PerformanceConfig {
            default_command_timeout: settings.command_timeout,
            broadcast_channel_capacity: message_buffer,
            ..PerformanceConfig::default()
        })
        .set_connection_config(ConnectionConfig {
            connection_timeout: settings.connect_timeout,
            internal_command_timeout: settings.command_timeout,
            // Nothing is sent twice in silence: whoever waits for the answer decides.
            max_command_attempts: 1,
            max_command_buffer_len: settings.max_waiting_commands,
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(settings.command_timeout),
                interval: settings.command_timeout / 4,
            },
            reconnect_on_auth_error: true,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        });
    Ok(builder)
}

fn config(settings: &RedisSettings) -> Result<Config, ConnectError> {
    let url = &settings.url;
    // The library takes every other scheme for that of one server.
    if !SCHEMES.iter().any(|scheme| url.starts_with(&format!("{scheme}://"))) {
        return Err(ConnectError::Settings(format!("the URL must begin with one of {}", SCHEMES.join(", "))));
    }
    let mut config = match (&settings.ca_file, url.strip_prefix("rediss")) {
        // The library would load the system's certificates for the URL, and fail where there are none.
        (Some(ca_file), Some(rest)) => {
            let mut config = Config::from_url(&format!("redis{rest}")).map_err(|error| wrong(&error))?;
            config.tls = Some(TlsConfig::from(trusting(ca_file)?));
            config
        }
        _ => Config::from_url(url).map_err(|error| wrong(&error))?,
    };
    // Only of the first attempt: so that a wrong password or address is said, not retried for ever.
    config.fail_fast = true;
    Ok(config)
}

fn trusting(ca_file: &Path) -> Result<TlsConnector, ConnectError> {
    let wrong = |error: &dyn std::fmt::Display| {
        ConnectError::Settings(format!("{} has no usable certificates: {error}", ca_file.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"it holds none"));
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth().into())
}

/// Without the URL, which may hold a password.
fn wrong(error: &Error) -> ConnectError {
    ConnectError::Settings(error.to_string())
}
