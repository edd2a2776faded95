//! Errors as clients see them: RFC 9457 problem details.
//!
//! The only map from errors to statuses. What went wrong inside is logged here, once, and never sent.

use std::{borrow::Cow, collections::BTreeMap};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    domain::Reason,
    reservation::port::EngineError,
    service::{
        catalog::CatalogError,
        item::{CreateItemError, RestockError},
        order::later::OrderError,
        password::PasswordError,
        promo::{AskPromoError, CreatePromoError, LifecycleError},
        token::TokenError,
        user::{LogInError, RegisterError},
    },
    store::port::{CloseError, CreateUserError, StageError, StoreError},
};

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $word:literal, $title:literal;)*) => {
        /// Every kind of problem, with its status, its stable word and its title.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every kind, for the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)*
                }
            }

            /// The stable word that clients may rely on.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }
        }
    };
}

codes! {
    BadRequest = BAD_REQUEST, "bad_request", "The request makes no sense";
    MalformedJson = BAD_REQUEST, "malformed_json", "The body is not JSON";
    NotAHandshake = BAD_REQUEST, "not_a_handshake", "This is for WebSockets of the subprotocol panicbuy.v1";
    NotAuthenticated = UNAUTHORIZED, "not_authenticated", "Log in first";
    TokenExpired = UNAUTHORIZED, "token_expired", "The session has expired";
    BadCredentials = UNAUTHORIZED, "bad_credentials", "The e-mail address or the password is wrong";
    ForbiddenOrigin = FORBIDDEN, "forbidden_origin", "Pages from there may not open sockets here";
    Forbidden = FORBIDDEN, "forbidden", "This is for administrators";
    NotFound = NOT_FOUND, "not_found", "There is nothing here";
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed", "This cannot be done here";
    EmailTaken = CONFLICT, "email_taken", "The e-mail address is taken";
    InsufficientStock = CONFLICT, "insufficient_stock", "There is not enough stock";
    PromoOverlap = CONFLICT, "promo_overlap", "Another promo of the item overlaps";
    WrongStage = CONFLICT, "wrong_stage", "The promo is not in a stage for this";
    WrongStatus = CONFLICT, "wrong_status", "The order is not in a status for this";
    NotStarted = CONFLICT, "not_started", "The promo has not opened yet";
    Paused = CONFLICT, "paused", "The promo is paused";
    Ended = CONFLICT, "ended", "The promo is over";
    NoPass = CONFLICT, "no_pass", "The shopper holds no pass";
    LimitReached = CONFLICT, "limit_reached", "The limit per shopper is reached";
    SoldOut = CONFLICT, "sold_out", "Sold out";
    PayloadTooLarge = PAYLOAD_TOO_LARGE, "payload_too_large", "The body is too large";
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body must be JSON";
    ValidationFailed = UNPROCESSABLE_ENTITY, "validation_failed", "Some fields are not valid";
    RateLimited = TOO_MANY_REQUESTS, "rate_limited", "Too many attempts";
    Internal = INTERNAL_SERVER_ERROR, "internal", "Something went wrong here";
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "A part of the system does not answer";
    NotReady = SERVICE_UNAVAILABLE, "not_ready", "The stock is being recovered";
}

/// One problem, ready to be sent.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: Option<Cow<'static, str>>,
    errors: BTreeMap<String, String>,
    retry_after_ms: Option<u64>,
}

/// A problem on the wire.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Identifies the kind of problem, like `code`.
    #[serde(rename = "type")]
    #[schema(example = "urn:panicbuy:problem:not_found")]
    kind: String,
    title: &'a str,
    #[schema(example = 404)]
    status: u16,
    /// What is special about this case.
    detail: &'a str,
    /// Stable; clients may rely on it.
    #[schema(example = "not_found")]
    code: &'a str,
    /// What is wrong with which field; only with `validation_failed`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    errors: &'a BTreeMap<String, String>,
}

impl Problem {
    pub fn new(code: Code) -> Self {
        Self { code, detail: None, errors: BTreeMap::new(), retry_after_ms: None }
    }

    /// Says what is special about this case.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says when the same may work.
    #[must_use]
    pub fn retry_after_ms(mut self, millis: u64) -> Self {
        self.retry_after_ms = Some(millis);
        self
    }

    /// Fields that are not valid, each with what it should be.
    pub fn invalid(errors: BTreeMap<String, String>) -> Self {
        Self { errors, ..Self::new(Code::ValidationFailed) }
    }

    /// One field that is not valid.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(BTreeMap::from([(field.into(), message.into())]))
    }

    /// An error of our own. Its text goes to the log and nowhere else.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(Code::Internal)
    }

    /// A part of the system does not answer. The text goes to the log and nowhere else.
    pub fn unavailable(error: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%error, "a request could not be served");
        Self::new(Code::Unavailable)
    }

    pub fn code(&self) -> Code {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ProblemBody {
            kind: format!("urn:panicbuy:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            detail: self.detail.as_deref().unwrap_or(self.code.title()),
            code: self.code.as_str(),
            errors: &self.errors,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        match self.code {
            Code::TokenExpired => {
                let challenge =
                    r#"Bearer realm="panicbuy", error="invalid_token", error_description="expired""#;
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            _ if status == StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static(r#"Bearer realm="panicbuy""#);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        let temporary = status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS;
        if let Some(millis) = self.retry_after_ms.or(temporary.then_some(1000)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000)));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for Problem {
    /// A database that is down or overloaded may answer later; one that does not understand us will not.
    fn from(error: &StoreError) -> Self {
        use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Tls, WorkerCrashed};
        match &error.0 {
            Io(_) | Tls(_) | PoolTimedOut | PoolClosed | WorkerCrashed => Self::unavailable(error),
            Database(_) if !error.is_permanent() => Self::unavailable(error),
            _ => Self::internal(error),
        }
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        Self::from(error.store())
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotReady(_) => Self::new(Code::NotReady),
            EngineError::Unavailable(_) | EngineError::Unsure(_) => Self::unavailable(&error),
        }
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::unavailable(&error),
            PasswordError::Failed(_) => Self::internal(&error),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self::new(match error {
            TokenError::Invalid => Code::NotAuthenticated,
            TokenError::Expired => Code::TokenExpired,
        })
    }
}

impl From<CreateUserError> for Problem {
    fn from(error: CreateUserError) -> Self {
        match error {
            CreateUserError::EmailTaken => Self::new(Code::EmailTaken),
            CreateUserError::Store(error) => error.into(),
        }
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Create(error) => error.into(),
            RegisterError::Password(error) => error.into(),
        }
    }
}

impl From<LogInError> for Problem {
    fn from(error: LogInError) -> Self {
        match error {
            LogInError::BadCredentials => Self::new(Code::BadCredentials),
            LogInError::RateLimited { retry_after_ms } => {
                Self::new(Code::RateLimited).retry_after_ms(retry_after_ms)
            }
            LogInError::Password(error) => error.into(),
            LogInError::Store(error) => error.into(),
        }
    }
}

impl From<CreateItemError> for Problem {
    fn from(error: CreateItemError) -> Self {
        match error {
            CreateItemError::Store(error) => error.into(),
            CreateItemError::Engine(..) => Self::unavailable(&error),
        }
    }
}

impl From<RestockError> for Problem {
    fn from(error: RestockError) -> Self {
        match error {
            RestockError::NotFound => Self::new(Code::NotFound),
            RestockError::Insufficient { .. } => Self::new(Code::InsufficientStock).detail(error.to_string()),
            RestockError::OutOfRange => Self::invalid_field("delta", error.to_string()),
            RestockError::Engine(error) => error.into(),
            RestockError::Store(error) => error.into(),
        }
    }
}

impl From<CreatePromoError> for Problem {
    fn from(error: CreatePromoError) -> Self {
        match error {
            CreatePromoError::NoSuchItem => Self::invalid_field("item_id", "there is no such item"),
            CreatePromoError::Store(error) => error.into(),
        }
    }
}

impl From<StageError> for Problem {
    fn from(error: StageError) -> Self {
        match error {
            StageError::NotFound => Self::new(Code::NotFound),
            StageError::WrongStage(stage) => {
                Self::new(Code::WrongStage).detail(format!("the promo is {}", stage.as_str()))
            }
            StageError::Overlaps(other) => Self::new(Code::PromoOverlap)
                .detail(format!("promo {other} of the same item overlaps in time")),
            StageError::NotEnoughStock => Self::new(Code::InsufficientStock),
            StageError::Store(error) => error.into(),
        }
    }
}

impl From<LifecycleError> for Problem {
    fn from(error: LifecycleError) -> Self {
        match error {
            LifecycleError::Stage(error) => error.into(),
            LifecycleError::Over => Self::new(Code::Ended).detail("the promo would be over already"),
            LifecycleError::NotEnoughStock(_) => Self::new(Code::InsufficientStock).detail(error.to_string()),
            LifecycleError::Engine(error) => error.into(),
        }
    }
}

impl From<AskPromoError> for Problem {
    fn from(error: AskPromoError) -> Self {
        match error {
            AskPromoError::NotFound => Self::new(Code::NotFound),
            AskPromoError::TooEarly => Self::new(Code::NotStarted),
            AskPromoError::Engine(error) => error.into(),
            AskPromoError::Store(error) => error.into(),
            AskPromoError::Catalog(error) => error.into(),
        }
    }
}

impl From<CloseError> for Problem {
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::NotFound => Self::new(Code::NotFound),
            CloseError::WrongStatus(status) => {
                Self::new(Code::WrongStatus).detail(format!("the order is {}", status.as_str()))
            }
            CloseError::Store(error) => error.into(),
        }
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Close(error) => error.into(),
            OrderError::Store(error) => error.into(),
            OrderError::Engine(error) => error.into(),
        }
    }
}

/// Why an order was refused.
impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self::new(match reason {
            Reason::NotReady => Code::NotReady,
            Reason::NotStarted => Code::NotStarted,
            Reason::Paused => Code::Paused,
            Reason::Ended => Code::Ended,
            Reason::NoPass => Code::NoPass,
            Reason::LimitReached => Code::LimitReached,
            Reason::SoldOut => Code::SoldOut,
            Reason::RateLimited => Code::RateLimited,
            Reason::BadRequest => Code::BadRequest,
            Reason::Unavailable => Code::Unavailable,
        })
    }
}
