/** How a command ends whose bad end has been told already: only its exit status is left. */
export class EndedWith extends Error {
  readonly exitStatus: number;

  constructor(exitStatus: number) {
    super(`ended with status ${exitStatus}`);
    this.exitStatus = exitStatus;
  }
}

/** @throws EndedWith, unless the status is 0 */
export const endWith = (exitStatus: number): void => {
  if (exitStatus !== 0) throw new EndedWith(exitStatus);
};
