# One image a service: SERVICE is listener, runner, gateway, or switchback, which is the command. `make images` builds all of
# them; their commands are compiled once. It needs BuildKit, which Docker has since 18.09.
ARG GO_VERSION=1.26.8

FROM golang:${GO_VERSION}-alpine AS build
# The machine that builds, not the image, decides nothing: no C compiler, no other toolchain, no workspace.
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOFLAGS=-buildvcs=false
WORKDIR /src
COPY pkg pkg
COPY services services
COPY cmd cmd
ARG VERSION=dev
ARG REVISION=
# The same source gives the same bytes: paths are trimmed, and no time and no build id goes in.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    set -eu; \
    telemetry=github.com/switchbackhq/switchback/pkg/telemetry; \
    flags="-s -w -buildid= -X $telemetry.version=$VERSION -X $telemetry.revision=$REVISION"; \
    build() { (cd "$1" && go build -trimpath -ldflags "$flags" -o "/out/$2" "$3"); }; \
    for service in services/*/cmd/*; do \
      name=${service##*/switchback-}; build "${service%/cmd/*}" "$name" "./cmd/switchback-$name"; \
    done; \
    build cmd/switchback switchback .
# What the images bring besides: certificates of authorities, time zones, and a folder that everybody may write to.
RUN mkdir -p /rootfs/etc/ssl/certs /rootfs/tmp && chmod 1777 /rootfs/tmp \
    && cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ \
    && cp "$(go env GOROOT)/lib/time/zoneinfo.zip" /rootfs/zoneinfo.zip \
    && echo 'switchback:x:65532:65532::/:/sbin/nologin' >/rootfs/etc/passwd \
    && echo 'switchback:x:65532:' >/rootfs/etc/group

FROM scratch
ARG SERVICE
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.title="switchback ${SERVICE}" \
      org.opencontainers.image.description="Workflows that sleep until a callback wakes them, on NATS JetStream." \
      org.opencontainers.image.source="https://github.com/switchbackhq/switchback" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /rootfs /
COPY --from=build /out/${SERVICE} /switchback
ENV ZONEINFO=/zoneinfo.zip
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /etc/switchback
# No shell, no curl: the binary asks itself. The command is no server, and whoever runs it as one says what to ask.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/switchback", "healthcheck"]
ENTRYPOINT ["/switchback"]
