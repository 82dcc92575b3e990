#!/bin/sh
# A PostgreSQL of a deployment's own on this machine, on a free port of 127.0.0.1, in /tmp/sb-events-ID: what it keeps goes with the deployment.
#
#   sh local/database.sh start ID    starts it, unless it runs, and prints {"url": "postgres://…"}; with DATABASE_URL, only prints that
#   sh local/database.sh stop ID     stops it and removes what it kept; nothing there is no failure
set -eu
action=$1
folder=/tmp/sb-events-$2
if [ "$action" = start ] && [ -n "${DATABASE_URL-}" ]; then
    printf '{"url": "%s"}\n' "$(printf %s "$DATABASE_URL" | sed 's/[\\"]/\\&/g')"
    exit
fi
user=$(id -un)

# PostgreSQL does not run as root; Debian's package makes a user for it.
as_user() { "$@"; }
if [ "$(id -u)" -eq 0 ]; then
    user=postgres
    as_user() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
fi
if [ -e "$folder" ] && [ "$(stat -c %U "$folder")" != "$user" ]; then
    echo "$folder belongs to somebody else than $user" >&2
    exit 1
fi
# The folder of the working directory may be closed to that user.
cd /

programs=$(pg_config --bindir 2> /dev/null || true)
[ -x "$programs/initdb" ] || programs=$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | sort -V | tail -n 1)
if [ ! -x "$programs/initdb" ]; then
    [ "$action" = start ] || [ -e "$folder" ] || exit 0
    echo "there is no PostgreSQL: install it (Debian: apt-get install postgresql), or set EVENT_PROCESSING_DATABASE_URL to one of yours" >&2
    exit 1
fi
pg_ctl() { as_user "$programs/pg_ctl" --pgdata "$folder/data" --silent "$@"; }
runs() { [ -e "$folder/data/PG_VERSION" ] && pg_ctl status > /dev/null; }

case $action in
stop)
    if runs; then pg_ctl stop --mode immediate; fi
    rm -rf "$folder"
    ;;
start)
    if ! runs || [ ! -e "$folder/url" ]; then
        # What an attempt that was stopped half-way has left is made anew.
        if runs; then pg_ctl stop --mode immediate; fi
        rm -rf "$folder"
        as_user mkdir -m 700 "$folder"
        password=$(od -A n -N 16 -t x1 /dev/urandom | tr -d ' \n')
        as_user sh -c 'umask 077; cat > "$1"' sh "$folder/password" << EOF
$password
EOF
        as_user "$programs/initdb" --pgdata "$folder/data" --username events --pwfile "$folder/password" --auth scram-sha-256 \
            --encoding UTF8 --no-locale --no-sync > /dev/null
        # Below the ports that the kernel gives to others. Nothing of it outlives the deployment, so no write waits for the disk.
        started=""
        for port in $(shuf -i 20000-32000 -n 10); do
            if pg_ctl start --log "$folder/log" \
                --options "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c fsync=off -c max_connections=200"; then
                started=$port
                break
            fi
        done
        if [ -z "$started" ]; then
            cat "$folder/log" >&2
            exit 1
        fi
        PGPASSWORD=$password as_user "$programs/createdb" --host 127.0.0.1 --port "$started" --username events events
        as_user sh -c 'umask 077; cat > "$1"' sh "$folder/url" << EOF
postgres://events:$password@127.0.0.1:$started/events
EOF
    fi
    printf '{"url": "%s"}\n' "$(cat "$folder/url")"
    ;;
*)
    echo "usage: database.sh start|stop ID" >&2
    exit 2
    ;;
esac
