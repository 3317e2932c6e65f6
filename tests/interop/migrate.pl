#!/usr/bin/perl
# A migration as the well-known Perl tool does it, on the library it is built on: one folder from one account to another.
# Messages are known by Message-Id and Received; flags go along as far as PERMANENTFLAGS lets them, dates always.
# Arguments: port, CA file, source user, target user, password, folder. Prints one "key value" line a count.
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use IO::Socket::SSL;
use Mail::IMAPClient;

my ($port, $ca, $source_user, $target_user, $password, $folder) = @ARGV;

sub connected {
    my ($user) = @_;
    my $socket = IO::Socket::SSL->new(
        PeerAddr => 'localhost', PeerPort => $port, SSL_ca_file => $ca, SSL_verify_mode => SSL_VERIFY_PEER,
    ) or die "no TLS: $SSL_ERROR";
    my $imap = Mail::IMAPClient->new(
        Socket => $socket, User => $user, Password => $password, Authmechanism => 'PLAIN',
        Uid => 1, Peek => 1, Timeout => 60, IgnoreSizeErrors => 0,
    ) or die "no login: $@";
    $imap->tag_and_run('ID ("name" "migration" "version" "1")') or die $imap->LastError;
    $imap->tag_and_run('NAMESPACE') or die $imap->LastError;
    return $imap;
}

sub identities {
    my ($imap, @uids) = @_;
    return {} unless @uids;
    my %found;
    my $headers = $imap->parse_headers(\@uids, 'Message-Id', 'Received') or die $imap->LastError;
    for my $uid (@uids) {
        my $fields = $headers->{$uid} or die "no header of $uid";
        $found{ md5_hex(join "\0", map { @{ $fields->{$_} || [] } } 'Message-Id', 'Received') } = $uid;
    }
    return \%found;
}

sub uids { my ($imap) = @_; my $found = $imap->search('ALL'); return $found ? @$found : (); }

my ($source, $target) = (connected($source_user), connected($target_user));
my %there = map { $_ => 1 } $target->folders;
unless ($there{$folder}) {
    $target->create($folder)    or die $target->LastError;
    $target->subscribe($folder) or die $target->LastError;
}
$source->examine($folder) or die $source->LastError;
$target->select($folder)  or die $target->LastError;
my ($permanent) = map { /PERMANENTFLAGS \(([^)]*)\)/ ? $1 : () } $target->Results;
my $any = $permanent =~ /\\\*/;
my %kept = map { lc($_) => 1 } split ' ', $permanent;

my @uids = uids($source);
my $mine  = identities($source, @uids);
my $theirs = identities($target, uids($target));
my $facts = @uids ? $source->fetch_hash(\@uids, 'FLAGS', 'INTERNALDATE', 'RFC822.SIZE') : {};
my ($limit) = map { /APPENDLIMIT=(\d+)/i ? $1 : () } $target->capability;
my ($sent, $skipped) = (0, 0);
for my $identity (sort { $mine->{$a} <=> $mine->{$b} } keys %$mine) {
    if ($theirs->{$identity}) { $skipped++; next }
    my $uid = $mine->{$identity};
    my $text = $source->message_string($uid);
    die "no body of $uid: " . $source->LastError unless defined $text;
    die "no size of $uid" unless $facts->{$uid}{'RFC822.SIZE'};    # an estimate will do, none will not
    die "beyond APPENDLIMIT $limit" if length $text > $limit;
    my @flags = grep { lc($_) ne '\recent' && ($any || $kept{ lc $_ }) } split ' ', $facts->{$uid}{FLAGS};
    $target->append_string($folder, $text, join(' ', @flags), $facts->{$uid}{INTERNALDATE})
        or die 'append: ' . $target->LastError;
    $sent++;
}
printf "total %d\nidentities %d\nsent %d\nskipped %d\nlimit %d\n",
    scalar @uids, scalar keys %$mine, $sent, $skipped, $limit;
$source->logout;
$target->logout;
