# docker build -t harvester .
# install -d -o 10001 harvest        # the user of the image writes there
# docker run --rm --read-only --tmpfs /tmp --env-file harvester.env -v ./harvest:/data harvester \
#     run users --appid wx0123456789abcdef --start first --end yesterday
# docker stop lets the requests in flight be stored; the same command goes on from there.
FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE requirements.lock.txt ./
COPY harvester ./harvester
RUN python -m venv /opt/harvester && /opt/harvester/bin/pip install --no-cache-dir -c requirements.lock.txt '.[export,mcp,mysql,postgres,redis,report,serve,xlsx,zstd]'

FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
LABEL org.opencontainers.image.title="harvester" \
      org.opencontainers.image.description="Download years of WeChat Official Account statistics, every record exactly once" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/wechat-harvester/wechat-harvester" \
      org.opencontainers.image.documentation="https://github.com/wechat-harvester/wechat-harvester/tree/main/docs"
COPY --from=build /opt/harvester /opt/harvester
RUN install -d -o 10001 -g 10001 /data
ENV PATH=/opt/harvester/bin:$PATH HARVESTER_OUT=/data HOME=/tmp PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["harvester"]
CMD ["--help"]
