# syntax=docker/dockerfile:1
# The service, and nothing of the demo's: a Python without tools, one virtual environment, no root, any UID.
#
#   docker build --tag shadowdiff .
#   docker run --read-only --tmpfs /tmp --user 1000690000:0 -p 8080-8082:8080-8082 -p 9090:9090 \
#     -v ./shadowdiff.yaml:/etc/shadowdiff/shadowdiff.yaml:ro shadowdiff

# 3.12 is the newest Python for which there is a wheel with a Redis in it: the store of a single pod.
FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# What is locked, by hash, first: a change of the code builds on the same layer.
COPY requirements/build.txt requirements/image.txt requirements/
RUN python -m venv /opt/build \
 && /opt/build/bin/python -m pip install --require-hashes --requirement requirements/build.txt \
 && python -m venv --without-pip /opt/shadowdiff \
 && python -m pip --python /opt/shadowdiff/bin/python install --require-hashes --requirement requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY shadowdiff shadowdiff
COPY recorder/envoy recorder/envoy
RUN /opt/build/bin/python -m hatchling build --target wheel --directory /wheel \
 && python -m pip --python /opt/shadowdiff/bin/python install --no-deps /wheel/shadowdiff-*.whl \
 && /opt/shadowdiff/bin/python -m compileall -q /opt/shadowdiff/lib

# The bill of materials (CycloneDX) of the installed packages.
FROM build AS sbom
RUN /opt/build/bin/cyclonedx-py environment /opt/shadowdiff/bin/python --output-format JSON --output-file /sbom.cdx.json

FROM python:3.12-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="shadowdiff" \
      org.opencontainers.image.description="Compares v2 with the answers v1 really gave, on the live traffic your mesh already mirrors." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      io.k8s.display-name="shadowdiff" \
      io.openshift.expose-services="8080:http,8081:http,8082:http,9090:http"
COPY --from=build /opt/shadowdiff /opt/shadowdiff
COPY --from=sbom /sbom.cdx.json /usr/share/sbom/shadowdiff.cdx.json
# The only places that are written to. An arbitrary UID is in group 0, so the group may do what the user may.
RUN install -d -m 0770 -o 10001 -g 0 /var/lib/shadowdiff && install -d -m 0755 /etc/shadowdiff
ENV PATH=/opt/shadowdiff/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SHADOWDIFF_CONFIG=/etc/shadowdiff/shadowdiff.yaml
WORKDIR /tmp
# By number, so that Kubernetes can see that it is not root.
USER 10001:0
EXPOSE 8080 8081 8082 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/readyz', timeout=2)"]
ENTRYPOINT ["shadowdiff"]
CMD ["serve"]
