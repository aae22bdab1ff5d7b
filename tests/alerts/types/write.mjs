// Writes each board of a folder as TypeScript that gives it its type: node write.mjs FROM TO
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [from, to] = process.argv.slice(2);
// The types of what only a panel of this kind has.
const kinds = {
  timeseries: ['timeseries', 'TimeSeriesPanelCfg', true],
  stat: ['stat', 'StatPanelCfg', false],
  table: ['table', 'TablePanelCfg', false],
  heatmap: ['heatmap', 'HeatmapPanelCfg', false],
  'state-timeline': ['statetimeline', 'StateTimelinePanelCfg', true],
};

for (const file of readdirSync(from).filter((name) => name.endsWith('.json'))) {
  const board = JSON.parse(readFileSync(join(from, file), 'utf8'));
  const lines = [
    "import type { AnnotationQuery, Dashboard, VariableModel } from '@grafana/schema';",
    "import type { Asked, Plain } from '../plain';",
    'type Board = Omit<Plain<Dashboard>, "annotations" | "templating"> & {',
    '  annotations: { list: (Plain<AnnotationQuery> & Asked)[] };',
    '  templating: { list: (Plain<VariableModel> & { definition?: string })[] };',
    '};',
  ];
  for (const kind of new Set(board.panels.map((panel) => panel.type))) {
    if (!kinds[kind]) throw new Error(`${file}: no type is known here for panels of type ${kind}`);
    const [folder, name] = kinds[kind];
    lines.push(
      `import type * as ${folder} from '@grafana/schema/dist/esm/raw/composable/${folder}/panelcfg/x/${name}_types.gen';`,
    );
  }
  lines.push(`export const board: Board = ${JSON.stringify(board, null, 2)};`);
  for (const panel of board.panels) {
    const [folder, , fields] = kinds[panel.type];
    lines.push(`export const options${panel.id}: Plain<Partial<${folder}.Options>> = ${JSON.stringify(panel.options)};`);
    const custom = panel.fieldConfig.defaults.custom;
    if (fields && custom) {
      lines.push(`export const custom${panel.id}: Plain<Partial<${folder}.FieldConfig>> = ${JSON.stringify(custom)};`);
    }
  }
  writeFileSync(join(to, file.replace('.json', '.ts')), `${lines.join('\n')}\n`);
}
