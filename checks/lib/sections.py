"""Several smtps sections in one site: what is in the configuration that misc/site.sh has made is rewritten before the site is started."""
import re


def edit(site, change):
    with open(site.conf) as f:
        text = f.read()
    text = change(text)
    with open(site.conf, "w") as f:
        f.write(text)


def split_smtps(site, first, **sections):
    """The section smtps becomes `smtps FIRST`; more by name: the text of what differs, listeners included. Each has its own id."""
    def change(conf):
        m = re.search(r"(?ms)^smtps \{$(.*?)^\}$", conf)
        assert m, conf
        body, out = m.group(1), []
        for i, (name, more) in enumerate({first: None, **sections}.items()):
            b = body.replace('"smtps -f ', f'"smtps -N {name} -f ').replace("smtps/smtpsfd", f"smtps/{name.lower()}fd")
            if more is not None:
                b = re.sub(r"(?m)^ *(listen_socket|relay_from_local|relay_to) .*$", "", b)
            out.append(f"smtps {name} {{{b}    id = {16 * i};\n    log {{ facility = mail; ident = smX-{name}; }}\n{more or ''}\n}}\n")
        # syslog is nobody's in a test; what each section is called there is read back by smconf
        text = "\n".join(out).replace("facility = mail; ", "")
        return conf[:m.start()] + text + conf[m.end():]
    edit(site, change)


def listener(port, name):
    return f'listen_socket {{ type = inet; address = 127.0.0.1; port = {port}; name = "{name}"; }}'
