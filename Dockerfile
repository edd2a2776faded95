# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS chef
RUN cargo install cargo-chef --version 0.1.78 --locked
WORKDIR /src

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=plan /src/recipe.json recipe.json
# The dependencies alone: this layer is made again only when they change.
RUN cargo chef cook --release --locked --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --bin panicbuy

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 panicbuy \
    && useradd --uid 10001 --gid panicbuy --no-log-init --create-home --skel /dev/null --home-dir /var/lib/panicbuy \
        --shell /usr/sbin/nologin panicbuy
COPY --from=build /src/target/release/panicbuy /usr/local/bin/panicbuy
# Numeric, so that a cluster can see that it is not root.
USER 10001:10001
# Where the embedded database lies, if no other is set.
WORKDIR /var/lib/panicbuy
ENV PANICBUY_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["panicbuy", "healthcheck"]
ENTRYPOINT ["panicbuy"]
CMD ["serve"]
