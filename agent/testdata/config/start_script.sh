umask 077
export VCAP_APPLICATION='{"application_id":"app-guid","application_name":"shop","application_uris":["shop.example"],"application_version":"v1","big":12345678901234567890,"host":"0.0.0.0","instance_id":"6a1f0c9e2b7d4c55a0e1f2b3c4d5e6f7","instance_index":3,"limits":{"mem":1},"name":"shop","port":20007,"space_name":"it'\''s","start":"2026-03-01 11:00:00 +0000","started_at":"2026-03-01 11:00:00 +0000","started_at_timestamp":1772362800,"state_timestamp":1772362800,"uris":["shop.example"],"version":"v1"}'
export VCAP_SERVICES='{"postgres-9":[{"name":"db","label":"postgres-9","tags":["sql"],"plan":"free","credentials":{"uri":"postgresql://u:p'\''w@db/x?a=1&b=2"}}]}'
export MEMORY_LIMIT="128m"
export DATABASE_URL='postgres://u:p'\''w@db/x?a=1&b=2'
export HOME="$PWD/app"
export TMPDIR="$PWD/tmp"
export VCAP_APP_HOST="0.0.0.0"
export VCAP_APP_PORT="20007"
export PORT="20007"
export CF_INSTANCE_INDEX="3"
export CF_INSTANCE_IP="192.0.2.7"
export CF_INSTANCE_PORT="20007"
export CF_INSTANCE_ADDR="192.0.2.7:20007"
export CF_INSTANCE_PORTS='[{"external":20007,"internal":20007}]'
export GREETING="say \"hi\" to $USER"
if __deacon=$(eval 'printf %s "$(date)"' && printf x); then export NOW="${__deacon%x}"; else export NOW='$(date)'; fi
unset __deacon
echo 'deacon: an environment variable can'\''t be called "no name"; it is left out' >&2
unset GEM_PATH
for __deacon in app/.profile.d/*.sh; do
  if [ -r "$__deacon" ]; then . "$__deacon"; fi
done
unset __deacon
DROPLET_BASE_DIR=$PWD
cd app
echo $$ >> ../run.pid
exec /bin/bash -c 'ruby app.rb -e '\''x y'\'''
