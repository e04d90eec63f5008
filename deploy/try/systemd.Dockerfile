# A machine with systemd and no containers, for the units of ../systemd: what ../README.md says to install, on the CPU
# worker's Python environment, which has torch already. `make deploy-test` builds and runs it.
ARG WORKER_IMAGE
FROM ${WORKER_IMAGE}
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends systemd systemd-sysv dbus procps valkey-server sudo
COPY tools/installer/requirements.txt requirements.lock pyproject.toml /source/
RUN cd /source \
    && pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt \
    && VIRTUAL_ENV=/opt/trace-ocr uv pip install --no-cache --constraint requirements.lock \
    -r pyproject.toml --extra api --extra flower
# The image's user has a fixed number; that of the documentation has not.
RUN userdel trace-ocr \
    && useradd --system --home-dir /opt/trace-ocr --shell /usr/sbin/nologin trace-ocr \
    && install --directory --mode 700 /etc/trace-ocr \
    && systemctl mask systemd-networkd-wait-online.service
COPY deploy/systemd /units
RUN install --mode 644 /units/*.service /units/*.timer /etc/systemd/system/
COPY samples /srv/samples
ENV container=docker
ENTRYPOINT ["/lib/systemd/systemd"]
CMD []
HEALTHCHECK NONE
STOPSIGNAL SIGRTMIN+3
