/** How the cluster is spoken to: through librbd, or through the `rbd` program alone; `auto` takes librbd where it can be used. */
export const adapterChoices = ['auto', 'librbd', 'cli'] as const;
export type AdapterChoice = (typeof adapterChoices)[number];

/** What the daemons say in `ready`. */
export interface Adapter {
  readonly kind: Exclude<AdapterChoice, 'auto'>;
  readonly why: string;
}
