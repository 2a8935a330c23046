"""A delivery status notification, taken apart: by Python's email package, and by a bounce parser that mailing lists use."""
import email
import email.policy
import json
import re
import subprocess

BOUNCE_PARSER = r"""
use Mail::DeliveryStatus::BounceParser;
use JSON::PP;
local $/;
my $text = <STDIN>;
my $b = Mail::DeliveryStatus::BounceParser->new($text);
my @reports = map { my $r = $_; my %h = map { my $v = $r->get($_); $v = defined $v ? $v : ""; chomp $v; ($_ => $v) }
	qw(email std_reason status action host smtp_code reason); \%h } $b->reports;
print encode_json({is_bounce => $b->is_bounce ? 1 : 0, type => $b->{type}, addresses => [$b->addresses], reports => \@reports,
	message_id => $b->orig_message_id});
"""


class Report:
    """What a DSN says. Anything that is not as RFC 3462 and 3464 have it is an assertion."""

    def __init__(self, message):
        self.envelope = message
        self.message = m = email.message_from_bytes(message.without_trace(), policy=email.policy.default)
        assert m.get_content_type() == "multipart/report", m.get_content_type()
        assert m.get_param("report-type") == "delivery-status"
        for part in m.walk():
            assert not part.defects, (part.get_content_type(), part.defects)
        parts = list(m.iter_parts())
        assert 2 <= len(parts) <= 3, [p.get_content_type() for p in parts]
        text, status = parts[:2]
        assert text.get_content_type() == "text/plain" and status.get_content_type() == "message/delivery-status"
        self.text = text.get_content()
        groups = status.get_payload()
        self.about, self.rcpts = groups[0], groups[1:]
        assert self.about["Reporting-MTA"] and self.rcpts
        self.original = parts[2] if len(parts) == 3 else None
        for field in ("Date", "From", "To", "Subject", "Message-ID"):
            assert m[field], field
        assert m["Auto-Submitted"] == "auto-replied"
        for r in self.rcpts:
            assert re.fullmatch(r"rfc822; \S+", r["Final-Recipient"]), r["Final-Recipient"]
            assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", r["Status"]), r["Status"]

    @property
    def envid(self):
        return self.about["Original-Envelope-Id"]

    @property
    def actions(self):
        return {r["Final-Recipient"].partition("; ")[2]: str(r["Action"]) for r in self.rcpts}

    @property
    def returned(self):
        return self.original.get_content_type() if self.original else None

    def original_bytes(self):
        """What came back, as it was sent."""
        payload = self.original.get_payload(0).as_bytes(policy=email.policy.SMTP) if self.returned == "message/rfc822" \
            else self.original.get_payload(decode=True)
        return payload

    def bounce(self):
        """As Mail::DeliveryStatus::BounceParser sees it, with the line ends of a mailbox."""
        r = subprocess.run(["perl", "-e", BOUNCE_PARSER], input=self.envelope.without_trace().replace(b"\r\n", b"\n"),
                           stdout=subprocess.PIPE, check=True, timeout=60)
        found = json.loads(r.stdout)
        found["message_id"] = (found["message_id"] or "").strip()
        return found


def bounce_parser():
    return subprocess.run(["perl", "-MMail::DeliveryStatus::BounceParser", "-e", "1"], stderr=subprocess.DEVNULL,
                          check=False).returncode == 0
