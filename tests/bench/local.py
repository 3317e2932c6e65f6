from tests.bench.imap import Client


def store_local(count):
    def run(server, client, sizes):
        return 0.001, count

    return run
