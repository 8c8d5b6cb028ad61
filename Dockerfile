# The operator: docker build -t bobrapet-py:dev .   (make image)
# Everything it installs is in tools/release/locks/requirements.lock, by hash.
ARG PYTHON=3.13.7-slim-bookworm@sha256:adafcc17694d715c905b4c7bebd96907a1fd5cf183395f0ebc4d3428bd22d92d

FROM python:${PYTHON} AS build
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY tools/release/locks/requirements-build.lock tools/release/locks/requirements-sbom.lock tools/release/locks/
RUN pip install --require-hashes -r tools/release/locks/requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY tools/release/locks/requirements.lock tools/release/locks/
COPY bobrapet bobrapet
COPY certs certs
COPY cli cli
COPY core core
COPY deployment deployment
COPY examples examples
COPY hub hub
COPY localcluster localcluster
COPY manager manager
COPY manifests manifests
COPY reconcilers reconcilers
COPY tools/release/sboms tools/release/sboms
COPY sdk sdk
COPY views views
COPY webhooks webhooks
RUN uv build --wheel --require-hashes --build-constraints tools/release/locks/requirements-build.lock --out-dir /dist . \
 && uv build --wheel --require-hashes --build-constraints tools/release/locks/requirements-build.lock --out-dir /dist sdk
RUN uv venv /opt/bobrapet \
 && operator="$(echo /dist/bobrapet-*.whl)" && sdk="$(echo /dist/bubu_sdk-*.whl)" \
 && echo "bobrapet @ file://${operator} --hash=sha256:$(sha256sum "${operator}" | cut -d' ' -f1)" > /dist/bobrapet.txt \
 && echo "bubu-sdk @ file://${sdk} --hash=sha256:$(sha256sum "${sdk}" | cut -d' ' -f1)" >> /dist/bobrapet.txt \
 && uv pip install --python /opt/bobrapet --compile-bytecode --require-hashes --constraints tools/release/locks/requirements.lock -r /dist/bobrapet.txt
RUN uv venv /opt/lister \
 && uv pip install --python /opt/lister --require-hashes -r tools/release/locks/requirements-sbom.lock \
 && /opt/lister/bin/cyclonedx-py environment --output-reproducible --output-file /opt/bobrapet/bobrapet.cdx.json /opt/bobrapet

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
