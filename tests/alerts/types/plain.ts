// A type as JSON says it: the values of an enum instead of its names.
export type Plain<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer N extends number}`
      ? N
      : never
    : T extends (infer U)[]
      ? Plain<U>[]
      : T extends object
        ? { [K in keyof T]: Plain<T[K]> }
        : T;

// What Prometheus and Grafana's own annotations are asked by: each data source adds fields that the
// type of a board leaves open.
export interface Asked {
  expr?: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean;
  target?: { refId: string; limit: number; matchAny: boolean; tags: string[]; type: string };
}
