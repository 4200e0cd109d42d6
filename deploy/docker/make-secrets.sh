#!/bin/sh
# Fills the folder of secrets: make-secrets.sh DIRECTORY < FILE-WITH-THE-PAYMENT-SECRETS
#
# Passwords are made here, the URLs that carry them, and what signs candidate tokens; REDIS_ADDRESS and POSTGRES_ADDRESS are host and
# port of the stores elsewhere than in compose. What is there already stays as it is, so that
# it may run again. The containers read the files as users of their own: what keeps others on this host
# out is the folder, which is the caller's alone.
set -eu

folder=${1:?give the folder of the secrets, as SECRETS_DIR in .env names it}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

users=$(dirname "$0")/../redis/users.acl

is_missing() {
    [ ! -s "$folder/$1" ]
}

keep() {
    cat >"$folder/$1.new"
    chmod 444 "$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
}

hash_of() {
    sha256sum <"$folder/$1" | cut -d' ' -f1
}

if is_missing payment_secrets; then
    secrets=$(cat)
    case $secrets in
    whsec_*) printf '%s\n' "$secrets" | keep payment_secrets ;;
    *)
        echo "make-secrets.sh: $folder/payment_secrets is missing; give the payment provider's whsec_... by standard input" >&2
        exit 1
        ;;
    esac
fi
if is_missing candidate_token_secrets; then
    echo "whsec_$(head -c 32 /dev/urandom | base64)" | keep candidate_token_secrets
fi
for name in redis_password redis_ops_password postgres_password postgres_quota_password postgres_backup_password grafana_password; do
    if is_missing "$name"; then
        od -An -N24 -tx1 /dev/urandom | tr -d ' \n' | keep "$name"
    fi
done
if is_missing redis_url; then
    echo "redis://quota:$(cat "$folder/redis_password")@${REDIS_ADDRESS:-redis:6379}/0" | keep redis_url
fi
# The users of Redis, with the hashes of their passwords; written anew, as their rights change with releases.
sed -e "s/#OPS_PASSWORD_SHA256/#$(hash_of redis_ops_password)/" -e "s/#PASSWORD_SHA256/#$(hash_of redis_password)/" \
    "$users" | keep redis_users
if is_missing postgres_dsn; then
    echo "postgresql://quota:$(cat "$folder/postgres_quota_password")@${POSTGRES_ADDRESS:-postgres:5432}/quota" | keep postgres_dsn
fi
echo "secrets are in $folder"
