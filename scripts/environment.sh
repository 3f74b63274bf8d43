# What every script of ours begins with: sourced, not run. Finds cargo where rustup puts it and goes to the root.
if ! command -v cargo >/dev/null && [[ -f ${CARGO_HOME:-$HOME/.cargo}/env ]]; then
  # shellcheck source=/dev/null
  . "${CARGO_HOME:-$HOME/.cargo}/env"
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
