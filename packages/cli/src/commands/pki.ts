import { join } from 'node:path';
import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import { examples } from '../examples.js';
import { collect, countArgument } from '../options.js';
import type { CertificateFacts } from '../pki/read-certificate.js';
import type { AddVerb } from '../verb.js';

const defaultDir = 'pki';

/** A private CA and certificates, so that a pair is up in minutes. Needs no agent. */
export const addPki: AddVerb = (program) => {
  const pki = program
    .command('pki')
    .description(
      'Makes what agents and receivers need for mutual TLS: a private CA, and a certificate for each daemon.',
    );

  pki
    .command('init')
    .summary('make a certificate authority')
    .description('Makes a private certificate authority. Keep ca.key to yourself; daemons need only ca.crt.')
    .option('--dir <DIR>', 'where ca.crt and ca.key are put', defaultDir)
    .option('--name <NAME>', "the authority's common name")
    .option('--days <N>', 'how long it is good', countArgument)
    .option('--json', 'print the files as JSON')
    .addHelpText('after', examples('pki init --dir /etc/rbdferry/pki'))
    .action(async ({ dir, name, days, json = false }) => {
      const made = await expectingPkiErrors(async () => {
        const { initCa } = await import('../pki/authority.js');
        return initCa({ dir, ...given({ commonName: name, days }) });
      });
      await printMade(made, json);
    });

  pki
    .command('issue')
    .summary('issue a certificate')
    .description('Makes a key and a certificate for a daemon; the name is what a receiver knows an agent by.')
    .argument('<NAME>', 'common name of the bearer')
    .option('--dir <DIR>', "the authority's directory", defaultDir)
    .option('--host <HOST>', 'a name or address under which clients reach it; may be given several times', collect)
    .option('--days <N>', 'how long it is good', countArgument)
    .option('--out <DIR>', "where NAME.crt and NAME.key are put (default: the authority's directory)")
    .option('--replace', 'renew a certificate of this name; keeps its hosts unless --host gives others')
    .option('--json', 'print the files as JSON')
    .addHelpText('after', examples('pki issue receiver --host backup1.example.com --host 10.0.0.7', 'pki issue agent1'))
    .action(async (name, { dir, host, days, out, replace = false, json = false }) => {
      const made = await expectingPkiErrors(async () => {
        const { issueCertificate } = await import('../pki/issue-certificate.js');
        return issueCertificate({ dir, name, replace, ...given({ hosts: host, days, outDir: out }) });
      });
      await printMade(made, json);
    });

  pki
    .command('show')
    .summary('show a certificate')
    .description('Shows what a certificate says: whose it is, its hosts and fingerprint, and how long it is good.')
    .argument('<NAME|FILE>', 'a name in the directory, or a certificate file (with a slash or .crt in it)')
    .option('--dir <DIR>', "the authority's directory", defaultDir)
    .option('--json', 'print it as JSON')
    .addHelpText('after', examples('pki show agent1', 'pki show /etc/rbdferry/agent1.crt'))
    .action(async (name, { dir, json = false }) => {
      const facts = await expectingPkiErrors(async () => {
        const { readCertificate } = await import('../pki/read-certificate.js');
        return readCertificate(/\/|\.crt$/.test(name) ? name : join(dir, `${name}.crt`));
      });
      await printFacts(facts, json);
    });
};

const printFacts = async (facts: CertificateFacts, json: boolean): Promise<void> => {
  const { printLine } = await import('../output.js');
  if (json) {
    await printLine((await import('../render/json.js')).toJson(facts));
    return;
  }
  await printLine(`name         ${facts.name}`);
  await printLine(`serial       ${facts.serial}`);
  await printLine(`fingerprint  ${facts.fingerprint}`);
  await printLine(`hosts        ${facts.hosts.join(', ')}`);
  await printLine(`good until   ${facts.notAfter.toISOString().slice(0, 10)} (${facts.daysLeft} days)`);
};

/** The options that were given: exact optional properties take no undefined. */
const given = <T extends object>(options: T) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };

const expectingPkiErrors = async <T>(make: () => Promise<T>): Promise<T> => {
  try {
    return await make();
  } catch (thrown) {
    const { PkiError } = await import('../pki/pki-error.js');
    if (!(thrown instanceof PkiError)) throw thrown;
    throw new FerryError('INVALID_REQUEST', thrown.message, { hint: thrown.hint, cause: thrown });
  }
};

interface MadeFiles {
  readonly certificatePath: string;
  readonly keyPath: string;
  readonly hosts?: readonly string[];
  readonly notAfter: Date;
}

const printMade = async (made: MadeFiles, json: boolean): Promise<void> => {
  const { printDone } = await import('../write-output.js');
  await printDone(`the files are made: ${made.certificatePath}, ${made.keyPath}`, printFiles(made, json));
};

const printFiles = async (made: MadeFiles, json: boolean): Promise<void> => {
  const { printLine } = await import('../output.js');
  if (json) {
    await printLine((await import('../render/json.js')).toJson(made));
    return;
  }
  await printLine(`certificate  ${made.certificatePath}`);
  await printLine(`key          ${made.keyPath}`);
  if (made.hosts !== undefined) await printLine(`hosts        ${made.hosts.join(', ')}`);
  await printLine(`good until   ${made.notAfter.toISOString().slice(0, 10)}`);
};
