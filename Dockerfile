# Two images from one file:
#   service  (the default)  answers POST /match; holds no torch
#   trainer                 prepares, trains, builds and publishes a bundle
# Versions of packages are in pyproject.toml and nowhere else.

ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

# Dependencies: what the service needs, a layer of its own.
# Only pyproject.toml is here, so the layer is made again when a version changes, not when code does.
# An empty project named by it pulls exactly its dependencies.
FROM ${PYTHON_IMAGE} AS dependencies
WORKDIR /src
RUN python -m venv --without-pip /opt/opal
COPY pyproject.toml ./
# Optional parts, for builder and service alike: scann.
ARG EXTRAS=""
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    touch README.md LICENSE \
    && pip --python /opt/opal/bin/python install ".${EXTRAS:+[$EXTRAS]}"

# Dependencies of training.
FROM dependencies AS train-dependencies
# The usual package index serves torch with GPU libraries of several gigabytes. For an image that
# trains on the CPU, set this to the CPU wheel index that PyTorch's install page names. Torch's
# "+cpu" build then wins over the plain one of the same version; what the service needs has been
# installed above, without this index.
ARG TORCH_INDEX_URL=""
# pip goes into this environment too: the trainer fetches the demo data's wheel with it.
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/opal/bin/python -m ensurepip \
    && pip --python /opt/opal/bin/python install \
       ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} ".[train]"

# Our own code, in a folder of its own: a new release changes this small layer of an image only.
FROM dependencies AS code
COPY README.md LICENSE ./
COPY model ./model
COPY index ./index
COPY service ./service
RUN pip --python /opt/opal/bin/python install --no-cache-dir --no-deps --target /opt/opal-match .

# What both images are when they run.
FROM ${PYTHON_IMAGE} AS runtime
ARG REVISION=unknown
LABEL org.opencontainers.image.title="OPAL Match" \
      org.opencontainers.image.description="Multi-interest candidate retrieval" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# pip has compiled the packages already; nothing else may be written: the root is mounted read-only.
ENV PATH=/opt/opal/bin:$PATH \
    PYTHONPATH=/opt/opal-match \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
# A fixed number, so that a volume or a Kubernetes securityContext can name it. A fresh named volume
# takes the owner of the folder that it covers.
RUN groupadd --gid 10001 opal \
    && useradd --uid 10001 --gid opal --no-create-home --home-dir /tmp --shell /usr/sbin/nologin opal \
    && install --directory --owner opal --group opal /registry /data
USER 10001:10001
STOPSIGNAL SIGTERM

FROM runtime AS trainer
COPY --from=train-dependencies /opt/opal /opt/opal
COPY --from=code /opt/opal-match /opt/opal-match
COPY --chmod=0755 deploy/train-and-publish.sh /usr/local/bin/train-and-publish
ENV DATA=/data \
    REGISTRY=/registry \
    PIP_NO_CACHE_DIR=1
VOLUME ["/data", "/registry"]
# A command, not an entry point: `docker run IMAGE python -m model evaluate …` works as well.
CMD ["train-and-publish"]

FROM runtime AS service
COPY --from=dependencies /opt/opal /opt/opal
COPY --from=code /opt/opal-match /opt/opal-match
VOLUME ["/registry"]
EXPOSE 8000
# Ready = a bundle is live. The slim image has no curl; http.client also ignores proxy settings.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8000, timeout=2); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "service"]
CMD ["--registry", "/registry", "--host", "0.0.0.0", "--port", "8000"]
