#!/bin/sh
# The one list of Debian packages that smx needs. Installs those that are missing (as root); says which are missing otherwise.
#   deps.sh build    to compile and to run
#   deps.sh try      to send a first mail as well
#   deps.sh test     to run every test as well
#   deps.sh bench    to measure beside other programs
#   deps.sh list KIND
set -eu

# The last two lines of test are what Exim's program needs, and bsd-mailx, s-nail and PHP, which checks/lib/debian.py only unpacks.
build="gcc libc6-dev make autoconf automake pkg-config libc-ares-dev libdb5.3-dev liblmdb-dev libcdb-dev libpcre2-dev libssl-dev libsasl2-dev libseccomp-dev libjansson-dev libidn2-dev libcmocka-dev"
test="$build python3 python3-pytest python3-pytest-xdist python3-dnslib python3-aiosmtpd swaks libnet-ssleay-perl libio-socket-inet6-perl libauthen-sasl-perl libdigest-hmac-perl sasl2-bin openssl strace procps util-linux mandoc clang libclang-rt-14-dev llvm
 clang-format libmail-deliverystatus-bounceparser-perl dovecot-lmtpd dovecot-core iproute2 m4 libfuse3-dev e2fsprogs mount libmilter-dev opendkim opendkim-tools python3-dkim clamav-daemon clamav-milter rspamd
 libgnutls-dane0 libidn12 libnsl2
 git perl libargon2-1 libbsd0 libedit2 libgssapi-krb5-2 liblockfile1 libmagic1 libsodium23 libxml2"
bench="$test time"

usage() {
	echo "usage: deps.sh build|try|test|bench, or deps.sh list build|try|test|bench" >&2
	exit 64
}

packages() {
	case "$1" in
	build) echo $build ;;
	try) echo $build swaks ;;
	test) echo $test ;;
	bench) echo $bench ;;
	*) usage ;;
	esac
}

[ $# -ge 1 ] || usage
if [ "$1" = list ]; then
	packages "${2:-build}"
	exit 0
fi

missing=
for p in $(packages "$1"); do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "deps.sh: missing packages:$missing" >&2
	echo "deps.sh: as root: apt-get install$missing" >&2
	exit 69
fi
echo "deps.sh: installing$missing"
# Programs that come with a service of their own (Dovecot, OpenDKIM, ClamAV, rspamd) must not start it here.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	made=yes
fi
trap '[ -z "$made" ] || rm -f $policy' EXIT
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null
# shellcheck disable=SC2086
apt-get -q install -y --no-install-recommends $missing >/dev/null
