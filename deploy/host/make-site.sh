#!/bin/sh
# Makes the folder of a host on which everything is started from a shell: configuration, secrets,
# certificate and the settings of all processes.
#
#     make-site.sh FOLDER < FILE-WITH-THE-PAYMENT-SECRETS
#
# The configuration is that of the folders beside this one, with its paths below FOLDER. Ports, users and
# the programs of Postgres are variables of the environment; these are their defaults. It may run again:
# secrets and certificate stay, everything else is written anew.
set -eu

: "${HTTPS_PORT:=8443}"
: "${API_PORT:=8080}"             # of the first process; the second one has the next port
: "${API_ADMIN_PORT:=9090}"       # the same
: "${WORKER_ADMIN_PORT:=9190}"    # the same
: "${REDIS_PORT:=6379}"
: "${POSTGRES_PORT:=5432}"
: "${PROXY_METRICS_PORT:=8405}"
: "${PROMETHEUS_PORT:=9490}"
: "${ALERTMANAGER_PORT:=9093}"
: "${POSTGRES_BIN:=/usr/lib/postgresql/15/bin}"
: "${POSTGRES_USER:=postgres}"    # Postgres refuses to run as root
: "${PROXY_USER:=haproxy}"

refuse() {
    echo "make-site.sh: $*" >&2
    exit 1
}

site=${1:?give the folder to make, as /srv/quota-service}
case $site in
*[!A-Za-z0-9/._-]*) refuse "FOLDER is '$site'; it takes a path of letters, digits and /._-" ;;
/*) ;;
*) refuse "FOLDER is '$site'; it takes a path that begins with /" ;;
esac
taken=' '
for name in HTTPS_PORT API_PORT API_ADMIN_PORT WORKER_ADMIN_PORT REDIS_PORT POSTGRES_PORT \
    PROXY_METRICS_PORT PROMETHEUS_PORT ALERTMANAGER_PORT; do
    eval "port=\$$name"
    case $port in
    '' | *[!0-9]* | ??????*) refuse "$name is '$port'; it takes a port, 1 to 65535" ;;
    esac
    [ "$port" -ge 1 ] && [ "$port" -le 65535 ] || refuse "$name is '$port'; it takes a port, 1 to 65535"
    ports=$port
    case $name in API_* | WORKER_*) ports="$port $((port + 1))" ;; esac
    for port in $ports; do
        case $taken in *" $port "*) refuse "$name is '$port'; it takes a port that no other has" ;; esac
        taken="$taken$port "
    done
done
[ -x "$POSTGRES_BIN/initdb" ] || refuse "POSTGRES_BIN is '$POSTGRES_BIN'; there is no initdb in it"
for name in POSTGRES_USER PROXY_USER; do
    eval "user=\$$name"
    id "$user" >/dev/null 2>&1 || refuse "$name is '$user'; there is no such user"
done
if [ "$(id -u)" = 0 ]; then
    as_postgres="setpriv --reuid=$POSTGRES_USER --regid=$(id -g "$POSTGRES_USER") --clear-groups"
else
    for name in POSTGRES_USER PROXY_USER; do
        eval "user=\$$name"
        [ "$user" = "$(id -un)" ] || refuse "$name is '$user'; only root may start processes of another user"
    done
    as_postgres=
fi

here=$(cd "$(dirname "$0")/.." && pwd)
umask 022
mkdir -p "$site/run" "$site/log" "$site/data/redis" "$site/data/prometheus" "$site/data/alertmanager"
for owned in "$site/data/postgres" "$site/run/postgres" "$site/backups" "$site/backups/wal"; do
    mkdir -p "$owned"
    chown "$POSTGRES_USER" "$owned"
    chmod 700 "$owned"
done
REDIS_ADDRESS="127.0.0.1:$REDIS_PORT" POSTGRES_ADDRESS="127.0.0.1:$POSTGRES_PORT" \
    sh "$here/docker/make-secrets.sh" "$site/secrets"
if [ ! -s "$site/secrets/certificate.pem" ]; then
    # Signed by itself, for this host; that of an authority takes its place.
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$site/secrets/key.new" -out "$site/secrets/certificate.new" 2>"$site/log/openssl.log" ||
        refuse "no certificate was made: $(cat "$site/log/openssl.log")"
    cat "$site/secrets/certificate.new" "$site/secrets/key.new" >"$site/secrets/certificate.pem"
    rm "$site/secrets/certificate.new" "$site/secrets/key.new"
fi

for part in redis postgres haproxy prometheus; do
    rm -rf "${site:?}/$part"
    cp -r "$here/$part" "$site/$part"
done
edit() {
    file=$site/$1
    shift
    sed "$@" "$file" >"$file.new"
    mv "$file.new" "$file"
}
edit redis/redis.conf -e "s|/etc/quota-service|$site|; s|/var/lib/redis|$site/data/redis|; s|^port .*|port $REDIS_PORT|"
cp "$site/secrets/redis_users" "$site/redis/users.acl"
edit postgres/postgresql.conf -e "s|/etc/quota-service|$site|; s|/var/backups/quota-service|$site/backups|" \
    -e "s|^port .*|port = $POSTGRES_PORT|" -e "\$a unix_socket_directories = '$site/run/postgres'"
edit postgres/pg_hba.conf -e "s|^\(local .*\) postgres |\1 $POSTGRES_USER |"
edit prometheus/prometheus.yml -e "s|127.0.0.1:9093|127.0.0.1:$ALERTMANAGER_PORT|"
targets() {
    printf -- '- targets: [%s]\n' "$2" >"$site/prometheus/targets/$1.yml"
}
targets quota-api "'127.0.0.1:$API_ADMIN_PORT', '127.0.0.1:$((API_ADMIN_PORT + 1))'"
targets quota-worker "'127.0.0.1:$WORKER_ADMIN_PORT', '127.0.0.1:$((WORKER_ADMIN_PORT + 1))'"
targets haproxy "'127.0.0.1:$PROXY_METRICS_PORT'"
for exporter in node redis certificate; do # which do not run here
    targets "$exporter" ''
done

cat >"$site/site.env" <<EOF
# Settings of all processes of this host and of the shell of ops, made by make-site.sh.
SITE=$site
POSTGRES_BIN=$POSTGRES_BIN
AS_POSTGRES="$as_postgres"
PGHOST=$site/run/postgres
PGPORT=$POSTGRES_PORT
QUOTA_REDIS_URL_FILE=$site/secrets/redis_url
QUOTA_POSTGRES_DSN="\$(cat $site/secrets/postgres_dsn)"
QUOTA_PAYMENT_SECRETS_FILE=$site/secrets/payment_secrets
QUOTA_CANDIDATE_TOKEN_SECRETS_FILE=$site/secrets/candidate_token_secrets
# HAProxy is one address, bounds its clients itself, and needs 3 s to see that a process goes.
QUOTA_CONNECTIONS_ADDRESS_SHARE=1
QUOTA_STREAMS_OF_ADDRESS_MAX=20000
QUOTA_SHUTDOWN_NOTICE_S=3
PROXY_HTTPS=:$HTTPS_PORT
PROXY_CERTIFICATE=$site/secrets/certificate.pem
PROXY_METRICS=127.0.0.1:$PROXY_METRICS_PORT
PROXY_SOCKET=$site/run/haproxy.sock
PROXY_USER=$PROXY_USER
PROXY_GROUP=$(id -gn "$PROXY_USER")
PROXY_API_1=127.0.0.1:$API_PORT
PROXY_API_2=127.0.0.1:$((API_PORT + 1))
API_PORT=$API_PORT
API_ADMIN_PORT=$API_ADMIN_PORT
WORKER_ADMIN_PORT=$WORKER_ADMIN_PORT
# What ops call.
OPS_REDIS_URL="redis://ops:\$(cat $site/secrets/redis_ops_password)@127.0.0.1:$REDIS_PORT/0"
QUOTA_URL=https://127.0.0.1:$HTTPS_PORT
QUOTA_ADMIN_URL=http://127.0.0.1:$API_ADMIN_PORT
WORKER_ADMIN_URL=http://127.0.0.1:$WORKER_ADMIN_PORT
PROMETHEUS_URL=http://127.0.0.1:$PROMETHEUS_PORT
ALERTMANAGER_URL=http://127.0.0.1:$ALERTMANAGER_PORT
# Whom they trust: this host's own certificate.
SSL_CERT_FILE=$site/secrets/certificate.pem
CURL_CA_BUNDLE=$site/secrets/certificate.pem
EOF
echo "$site is made; in a shell: set -a; . $site/site.env; set +a"
