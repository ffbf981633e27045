# The server on the package that `npm run package` makes. How to use it: docs/deploy/docker.md.
FROM node:24.21.0-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
# The scripts of packages are not needed, and our own builds from sources that are not there yet.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npm run package
RUN npm install --prefix /app --no-audit --no-fund ./dist/automatos-*.tgz
RUN mkdir /data

FROM node:24.21.0-slim
ENV NODE_ENV=production ENVIRONMENT=production HOST=0.0.0.0 PORT=8000 DATA_DIR=/data
WORKDIR /app
COPY --from=build /app /app
COPY --from=build --chown=1000:1000 --chmod=0700 /data /data
# The user `node` of the base image, by number, so that an orchestrator can see that it is not root.
USER 1000:1000
VOLUME /data
EXPOSE 8000
# Alive, not ready: a database that is away is no reason to replace the server.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/health/live').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/node_modules/automatos/dist/bin.js"]
CMD ["serve"]
