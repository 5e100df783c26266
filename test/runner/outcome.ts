import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Reporter, TestModule } from 'vitest/node';

/** How a run of vitest ended. */
export interface Outcome {
  readonly files: number;
  readonly passed: number;
  /** What failed, and how: tests, and whatever broke outside of one (a file that could not be loaded, a hook, an unhandled error). */
  readonly failures: readonly string[];
}

/** The environment variable that says where {@link OutcomeReporter} writes. */
export const outcomeVariable = 'RBDFERRY_TEST_OUTCOME';

interface Thrown {
  readonly message: string;
}

type SeenModule = Pick<TestModule, 'relativeModuleId' | 'errors' | 'children'>;

export const outcomeOf = (modules: readonly SeenModule[], unhandled: readonly Thrown[]): Outcome => {
  const tests = modules.flatMap(({ children }) => [...children.allTests()]);
  const broken = (where: string, errors: readonly Thrown[]) => errors.map(({ message }) => `${where}: ${message}`);
  return {
    files: modules.length,
    passed: tests.filter((test) => test.result().state === 'passed').length,
    failures: [
      ...tests.flatMap((test) => {
        const { state, errors = [] } = test.result();
        const why = errors.map(({ message }) => message).join('; ');
        return state === 'failed'
          ? broken(`${test.module.relativeModuleId} > ${test.fullName}`, [{ message: why }])
          : [];
      }),
      ...modules.flatMap((module) => [
        ...broken(module.relativeModuleId, module.errors()),
        ...[...module.children.allSuites()].flatMap((suite) =>
          broken(`${module.relativeModuleId} > ${suite.fullName}`, suite.errors()),
        ),
      ]),
      ...broken('outside of every test', unhandled),
    ],
  };
};

/** Reporter of vitest that leaves its {@link Outcome} in a file; vitest's own in JSON says nothing of unhandled errors. */
export default class OutcomeReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly Thrown[]): void {
    writeFileSync(process.env[outcomeVariable] ?? '', JSON.stringify(outcomeOf(modules, unhandled)));
  }
}

/** What the reporter left; undefined when the run did not come to its end. */
export const readOutcome = async (file: string): Promise<Outcome | undefined> => {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as Outcome); // our reporter wrote it
};
