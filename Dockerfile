# The operator: docker build -t bobrapet-py:dev .   (make image)
# Everything it installs is in requirements.lock, by hash.
ARG PYTHON=3.13.7-slim-bookworm

FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:${PYTHON} AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_CACHE=1
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY manifests/crds manifests/crds
COPY core core
COPY webhooks webhooks
COPY reconcilers reconcilers
COPY certs certs
COPY localcluster localcluster
COPY manager manager
RUN uv build --wheel --out-dir /dist
RUN uv venv /opt/bobrapet \
 && wheel="$(echo /dist/*.whl)" \
 && echo "bobrapet @ file://${wheel} --hash=sha256:$(sha256sum "${wheel}" | cut -d' ' -f1)" > /dist/bobrapet.txt \
 && uv pip install --python /opt/bobrapet --compile-bytecode --require-hashes --constraints requirements.lock -r /dist/bobrapet.txt

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="bobrapet" \
      org.opencontainers.image.description="A Kubernetes workflow operator for AI and data pipelines." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/bobrapet /opt/bobrapet
ENV PATH=/opt/bobrapet/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
EXPOSE 9443 8443 8081
ENTRYPOINT ["bobrapet", "manager"]
