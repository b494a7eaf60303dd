#!/usr/bin/env bash
# Checks the delivery files: Dockerfile, compose file, shell scripts, Prometheus files. The tools come
# with the `dev` extra; promtool comes with Prometheus and is used where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

hadolint --failure-threshold style Dockerfile
shellcheck deploy/*.sh
check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
compose-lint check --quiet --strict-config --skip-suppressed --no-env --fail-on low \
  --config deploy/compose-lint.yml docker-compose.yml

if command -v promtool >/dev/null; then
  promtool check config deploy/prometheus.yml
  promtool test rules deploy/alerts_test.yml
else
  echo "promtool is not installed: Prometheus files were checked by tests/unit/deploy only"
fi
