# What both kinds of packages do on the machine, in the words of a POSIX shell. The .deb and the .rpm have it in their scripts.

units="smsotp.service smsotp-dispatch.timer smsotp-purge.timer smsotp-audit.timer smsotp-alarms.timer smsotp-report.timer smsotp-prices.timer"

# Once the user smsotp is there: its files, and a secret key unless there is one.
set_up() {
    install -d -o smsotp -g smsotp -m 0700 /var/lib/smsotp
    chown root:smsotp /etc/smsotp /etc/smsotp/smsotp.toml /etc/smsotp/.env.example
    chmod 0750 /etc/smsotp
    chmod 0640 /etc/smsotp/smsotp.toml /etc/smsotp/.env.example
    if [ ! -e /etc/smsotp/secret.key ]; then
        (
            umask 077
            head -c 32 /dev/urandom | base64 >/etc/smsotp/secret.key.new
            chown root:smsotp /etc/smsotp/secret.key.new
            chmod 0640 /etc/smsotp/secret.key.new
            mv /etc/smsotp/secret.key.new /etc/smsotp/secret.key
        )
    fi
}

# After an upgrade what runs goes on with the new program. Nothing is started that does not run.
use_new_program() {
    [ -d /run/systemd/system ] || return 0
    systemctl daemon-reload || true
    # shellcheck disable=SC2086
    systemctl try-restart $units || true
}

# Before the files go.
stop_all() {
    command -v systemctl >/dev/null || return 0
    if [ -d /run/systemd/system ]; then
        # shellcheck disable=SC2086
        systemctl stop $units || true
    fi
    # shellcheck disable=SC2086
    systemctl --quiet --no-reload disable $units 2>/dev/null || true
}

# Codes, and the key without which they cannot be read, go only by the hand of whoever owns them.
say_what_is_left() {
    for left in /var/lib/smsotp /etc/smsotp; do
        if [ -d "$left" ] && [ -n "$(ls -A "$left")" ]; then
            echo "smsotp: $left is left, with the database or the secret key in it. To delete it: rm -r $left"
        fi
    done
    if getent passwd smsotp >/dev/null; then echo "smsotp: the user smsotp is left. To delete it: userdel smsotp"; fi
}
