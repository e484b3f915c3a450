"""Titles of fields and interfaces for readers, in Chinese and English.

Rule: data.  The titles follow the words of WeChat's own console where it has some; what a field
means in detail is in its entry of the catalogue.
"""

from __future__ import annotations

from typing import NamedTuple


class Title(NamedTuple):
    """A title in each language."""

    zh: str
    en: str


FIELDS: dict[str, Title] = {
    name: Title(zh, en)
    for name, zh, en in (
        # beside the fields of an interface
        ("_appid", "公众号 AppID", "Account"),
        ("account", "公众号名称", "Account name"),
        ("_endpoint", "接口", "Interface"),
        ("_begin_date", "起始日期", "First day"),
        ("_end_date", "结束日期", "Last day"),
        ("_fetched_at", "采集时间 (UTC)", "Fetched at (UTC)"),
        ("_row", "行号", "Row"),
        ("_item", "序号", "Item"),
        ("_item_2", "序号 2", "Item 2"),
        ("_extra", "其他字段", "Other fields"),
        # days
        ("ref_date", "日期", "Date"),
        ("ref_hour", "小时", "Hour"),
        ("stat_date", "统计日期", "Statistics date"),
        ("date", "日期", "Date"),
        ("time_label", "日期", "Date"),
        ("timestamp", "时间戳", "Unix time"),
        ("month", "月份", "Month"),
        # users
        ("user_source", "渠道", "Channel"),
        ("new_user", "新增关注人数", "New followers"),
        ("cancel_user", "取消关注人数", "Lost followers"),
        ("cumulate_user", "累计关注人数", "Followers"),
        # articles
        ("msgid", "文章 ID", "Article ID"),
        ("title", "标题", "Title"),
        ("url", "链接", "Link"),
        ("mid", "消息 ID", "Message ID"),
        ("idx", "篇序", "Place in the message"),
        ("publish_date", "发布日期", "Published on"),
        ("content_url", "文章链接", "Article link"),
        ("publish_type", "发布类型", "Kind of publishing"),
        ("details", "每日明细", "Days"),
        ("detail_list", "每日明细", "Days"),
        ("detail", "明细", "Figures"),
        ("target_user", "送达人数", "People reached"),
        ("int_page_read_user", "文章页阅读人数", "Readers"),
        ("int_page_read_count", "文章页阅读次数", "Reads"),
        ("ori_page_read_user", "原文页阅读人数", "Readers of the original page"),
        ("ori_page_read_count", "原文页阅读次数", "Reads of the original page"),
        ("share_user", "分享人数", "Sharers"),
        ("share_count", "分享次数", "Shares"),
        ("read_count", "阅读次数", "Reads"),
        ("share_scene", "分享场景", "Kind of share"),
        ("add_to_fav_user", "收藏人数", "People who favourited"),
        ("add_to_fav_count", "收藏次数", "Times favourited"),
        ("int_page_from_session_read_user", "公众号会话阅读人数", "Readers from the conversation"),
        ("int_page_from_session_read_count", "公众号会话阅读次数", "Reads from the conversation"),
        ("int_page_from_hist_msg_read_user", "历史消息页阅读人数", "Readers from the history page"),
        ("int_page_from_hist_msg_read_count", "历史消息页阅读次数", "Reads from the history page"),
        ("int_page_from_feed_read_user", "朋友圈阅读人数", "Readers from Moments"),
        ("int_page_from_feed_read_count", "朋友圈阅读次数", "Reads from Moments"),
        ("int_page_from_friends_read_user", "好友转发阅读人数", "Readers from friends"),
        ("int_page_from_friends_read_count", "好友转发阅读次数", "Reads from friends"),
        ("int_page_from_other_read_user", "其他场景阅读人数", "Readers from elsewhere"),
        ("int_page_from_other_read_count", "其他场景阅读次数", "Reads from elsewhere"),
        ("int_page_from_kanyikan_read_user", "看一看阅读人数", "Readers from Top Stories"),
        ("int_page_from_kanyikan_read_count", "看一看阅读次数", "Reads from Top Stories"),
        ("int_page_from_souyisou_read_user", "搜一搜阅读人数", "Readers from Search"),
        ("int_page_from_souyisou_read_count", "搜一搜阅读次数", "Reads from Search"),
        (
            "feed_share_from_session_user",
            "公众号会话转发朋友圈人数",
            "Sharers to Moments from the conversation",
        ),
        (
            "feed_share_from_session_cnt",
            "公众号会话转发朋友圈次数",
            "Shares to Moments from the conversation",
        ),
        ("feed_share_from_feed_user", "朋友圈转发朋友圈人数", "Sharers to Moments from Moments"),
        ("feed_share_from_feed_cnt", "朋友圈转发朋友圈次数", "Shares to Moments from Moments"),
        (
            "feed_share_from_other_user",
            "其他场景转发朋友圈人数",
            "Sharers to Moments from elsewhere",
        ),
        (
            "feed_share_from_other_cnt",
            "其他场景转发朋友圈次数",
            "Shares to Moments from elsewhere",
        ),
        ("read_user", "阅读人数", "Readers"),
        ("read_user_source", "阅读来源", "Readers by entrance"),
        ("user_count", "人数", "People"),
        ("scene_desc", "来源", "Entrance"),
        ("zaikan_user", "在看人数", "People who pressed the heart"),
        ("like_user", "点赞人数", "People who gave a thumbs-up"),
        ("comment_count", "留言条数", "Comments"),
        ("collection_user", "收藏人数", "People who favourited"),
        ("redirect_ori_page_user", "跳转原文人数", "People who opened the original page"),
        ("send_page_count", "发表篇数", "Articles published"),
        ("praise_money", "赞赏金额 (分)", "Tips (fen)"),
        ("read_subscribe_user", "阅读后关注人数", "Followers won by reading"),
        ("read_delivery_rate", "送达阅读率", "Readers of those reached"),
        ("read_finish_rate", "完读率", "Read to the end"),
        ("read_avg_activetime", "平均阅读时长 (分钟)", "Mean reading time (minutes)"),
        ("read_jump_position", "跳出位置", "Where readers left"),
        ("position", "位置", "Position"),
        ("rate", "比例", "Share"),
        # messages
        ("msg_type", "消息类型", "Kind of message"),
        ("msg_user", "发送消息人数", "People who sent messages"),
        ("msg_count", "消息条数", "Messages"),
        ("count_interval", "发送条数区间", "Messages a person"),
        # interface
        ("callback_count", "被动回复次数", "Calls of the server"),
        ("fail_count", "失败次数", "Failed calls"),
        ("total_time_cost", "总耗时 (毫秒)", "Total time (ms)"),
        ("max_time_cost", "最大耗时 (毫秒)", "Longest time (ms)"),
        ("max_time_count", "最大耗时 (毫秒，旧)", "Longest time (ms, older spelling)"),
        # mini-programs
        ("visit_total", "累计用户数", "Visitors so far"),
        ("share_pv", "转发次数", "Shares"),
        ("share_uv", "转发人数", "Sharers"),
        ("session_cnt", "打开次数", "Sessions"),
        ("visit_pv", "访问次数", "Page views"),
        ("visit_uv", "访问人数", "Visitors"),
        ("visit_uv_new", "新用户数", "New visitors"),
        ("stay_time_uv", "人均停留时长 (秒)", "Mean stay of a visitor (s)"),
        ("stay_time_session", "次均停留时长 (秒)", "Mean stay of a session (s)"),
        ("visit_depth", "平均访问深度", "Mean depth"),
        ("key", "项", "Key"),
        ("value", "数值", "Value"),
        ("page_path", "页面路径", "Page"),
        ("page_visit_pv", "页面访问次数", "Page views"),
        ("page_visit_uv", "页面访问人数", "Visitors of the page"),
        ("page_staytime_pv", "次均停留时长 (秒)", "Mean stay (s)"),
        ("entrypage_pv", "入口页次数", "Times the first page"),
        ("exitpage_pv", "退出页次数", "Times the last page"),
        ("page_share_pv", "页面转发次数", "Shares of the page"),
        ("page_share_uv", "页面转发人数", "Sharers of the page"),
        ("list", "分布", "Distributions"),
        ("index", "分布类型", "Distribution"),
        ("item_list", "分布数据", "Parts"),
        ("access_source_visit_uv", "该来源访问人数", "Visitors of the source"),
        ("province", "省份", "Provinces"),
        ("city", "城市", "Cities"),
        ("genders", "性别", "Genders"),
        ("platforms", "平台", "Systems"),
        ("devices", "机型", "Devices"),
        ("ages", "年龄", "Ages"),
        ("id", "编号", "Number"),
        ("name", "名称", "Name"),
        ("group", "分组", "Group"),
        # mini-games
        ("group_dimension_list", "维度", "Dimensions"),
        ("label", "维度名", "Dimension"),
        ("metric_value", "指标值", "Figure"),
        # ads
        ("slot_id", "广告位", "Slot"),
        ("ad_slot", "广告位名称", "Name of the slot"),
        ("req_succ_count", "拉取量", "Ads fetched"),
        ("exposure_count", "曝光量", "Times shown"),
        ("exposure_rate", "曝光率", "Shown of fetched"),
        ("click_count", "点击量", "Clicks"),
        ("click_rate", "点击率", "Clicks of shown"),
        ("income", "收入 (分)", "Income (fen)"),
        ("ecpm", "千次曝光收入 (分)", "Income of 1,000 shown (fen)"),
        ("ad_unit_id", "广告单元 ID", "Ad unit"),
        ("ad_unit_name", "广告单元名称", "Name of the ad unit"),
        ("ad_unit_type", "广告单元类型", "Kind of ad unit"),
        ("ad_unit_status", "广告单元状态", "State of the ad unit"),
        ("ad_unit_size", "广告单元尺寸", "Sizes"),
        ("stat_item", "统计数据", "Figures"),
        ("width", "宽 (像素)", "Width (pixels)"),
        ("height", "高 (像素)", "Height (pixels)"),
        ("appid", "小程序 AppID", "Mini-program"),
        ("video_duration_min", "视频最短时长 (秒)", "Shortest video (s)"),
        ("video_duration_max", "视频最长时长 (秒)", "Longest video (s)"),
        ("order_count", "下单量", "Orders"),
        ("order_rate", "下单率", "Orders of clicks"),
        ("total_fee", "下单金额 (分)", "Sales (fen)"),
        ("total_commission", "佣金 (分)", "Commission (fen)"),
        ("zone", "结算区间", "Settled days"),
        ("order", "半月序号", "Half of the month"),
        ("sett_status", "结算状态", "State of the settlement"),
        ("settled_revenue", "结算收入 (分)", "Settled income (fen)"),
        ("sett_no", "结算单编号", "Settlement number"),
        ("mail_send_cnt", "补寄次数", "Papers sent again"),
        ("slot_revenue", "广告位收入", "Income by slot"),
        ("slot_settled_revenue", "广告位结算收入 (分)", "Settled income of the slot (fen)"),
        ("body", "主体名称", "Paid to"),
        ("penalty_all", "扣除金额 (分)", "Deductions (fen)"),
        ("revenue_all", "总收入 (分)", "Income (fen)"),
        ("settled_revenue_all", "已结算总收入 (分)", "Settled income in all (fen)"),
    )
}

INTERFACES: dict[str, str] = {
    "getusersummary": "用户增减",
    "getusercumulate": "累计用户",
    "getarticlesummary": "文章群发每日数据",
    "getarticletotal": "文章群发总数据",
    "getuserread": "文章阅读概况",
    "getuserreadhour": "文章阅读分时",
    "getusershare": "文章分享转发",
    "getusersharehour": "文章分享转发分时",
    "getarticleread": "文章每日阅读",
    "getarticleshare": "文章每日分享",
    "getbizsummary": "账号整体数据",
    "getarticletotaldetail": "文章累计明细",
    "getupstreammsg": "消息发送概况",
    "getupstreammsghour": "消息发送分时",
    "getupstreammsgweek": "消息发送周数据",
    "getupstreammsgmonth": "消息发送月数据",
    "getupstreammsgdist": "消息发送分布",
    "getupstreammsgdistweek": "消息发送分布周数据",
    "getupstreammsgdistmonth": "消息发送分布月数据",
    "getinterfacesummary": "接口分析",
    "getinterfacesummaryhour": "接口分析分时",
    "getweanalysisappiddailysummarytrend": "小程序数据概况",
    "getweanalysisappiddailyvisittrend": "小程序访问日趋势",
    "getweanalysisappidweeklyvisittrend": "小程序访问周趋势",
    "getweanalysisappidmonthlyvisittrend": "小程序访问月趋势",
    "getweanalysisappiddailyretaininfo": "小程序日留存",
    "getweanalysisappidweeklyretaininfo": "小程序周留存",
    "getweanalysisappidmonthlyretaininfo": "小程序月留存",
    "getweanalysisappidvisitpage": "小程序访问页面",
    "getweanalysisappidvisitdistribution": "小程序访问分布",
    "getweanalysisappiduserportrait": "小程序用户画像",
    "getgameanalysisdata": "小游戏数据",
    "publisher_adpos_general": "广告位数据",
    "publisher_adunit_general": "广告单元数据",
    "publisher_cps_general": "返佣商品数据",
    "publisher_settlement": "结算收入",
    "get_adunit_list": "广告单元清单",
}
"""Interfaces in Chinese; in English the catalogue has their title."""


def field_title(name: str, language: str) -> str:
    """The title of a field; its name if none is known."""
    title = FIELDS.get(name)
    return name if title is None else getattr(title, language)


_UNITS = {
    Title("人", "people"): (
        "new_user cancel_user cumulate_user int_page_read_user ori_page_read_user share_user"
        " add_to_fav_user target_user int_page_from_session_read_user"
        " int_page_from_hist_msg_read_user int_page_from_feed_read_user"
        " int_page_from_friends_read_user int_page_from_other_read_user"
        " int_page_from_kanyikan_read_user int_page_from_souyisou_read_user"
        " feed_share_from_session_user feed_share_from_feed_user feed_share_from_other_user"
        " read_user user_count zaikan_user like_user collection_user redirect_ori_page_user"
        " read_subscribe_user msg_user visit_total share_uv visit_uv visit_uv_new page_visit_uv"
        " page_share_uv access_source_visit_uv"
    ),
    Title("次", "times"): (
        "int_page_read_count ori_page_read_count share_count add_to_fav_count read_count"
        " int_page_from_session_read_count int_page_from_hist_msg_read_count"
        " int_page_from_feed_read_count int_page_from_friends_read_count"
        " int_page_from_other_read_count int_page_from_kanyikan_read_count"
        " int_page_from_souyisou_read_count feed_share_from_session_cnt feed_share_from_feed_cnt"
        " feed_share_from_other_cnt callback_count fail_count share_pv session_cnt visit_pv"
        " page_visit_pv entrypage_pv exitpage_pv page_share_pv req_succ_count exposure_count"
        " click_count"
    ),
    Title("条", "messages"): "msg_count",
    Title("条", "comments"): "comment_count",
    Title("篇", "articles"): "send_page_count",
    Title("单", "orders"): "order_count",
    Title("层", "pages"): "visit_depth",
    Title("分", "fen (1/100 yuan)"): (
        "praise_money income ecpm total_fee total_commission settled_revenue slot_settled_revenue"
        " penalty_all revenue_all settled_revenue_all"
    ),
    Title("0–1", "0 to 1"): (
        "read_delivery_rate read_finish_rate rate click_rate exposure_rate order_rate"
    ),
    Title("毫秒", "ms"): "total_time_cost max_time_cost max_time_count",
    Title("秒", "s"): (
        "stay_time_uv stay_time_session page_staytime_pv video_duration_min video_duration_max"
    ),
    Title("分钟", "minutes"): "read_avg_activetime",
    Title("像素", "pixels"): "width height",
}
UNITS: dict[str, Title] = {name: unit for unit, names in _UNITS.items() for name in names.split()}
"""The unit of a figure, by field.  What has none is a code, an id, or of more than one kind."""

CONSOLE: dict[str, str] = {
    # 用户分析
    "new_user": "新关注人数",
    "cancel_user": "取消关注人数",
    "cumulate_user": "累积关注人数",
    # 内容分析
    "read_user": "阅读人数",
    "read_count": "阅读次数",
    "int_page_read_user": "阅读人数",
    "int_page_read_count": "阅读次数",
    "user_count": "阅读人数",
    "share_user": "分享人数",
    "share_count": "分享次数",
    "redirect_ori_page_user": "阅读原文人数",
    "ori_page_read_user": "阅读原文人数",
    "ori_page_read_count": "阅读原文次数",
    "collection_user": "收藏人数",
    "add_to_fav_user": "收藏人数",
    "add_to_fav_count": "收藏次数",
    "send_page_count": "群发篇数",
    # 消息分析
    "msg_user": "消息发送人数",
    "msg_count": "消息发送次数",
    # 接口分析
    "callback_count": "调用次数",
    "max_time_cost": "最大耗时",
    "max_time_count": "最大耗时",
    # 小程序数据分析
    "session_cnt": "打开次数",
    "visit_pv": "访问次数",
    "visit_uv": "访问人数",
    "stay_time_uv": "人均停留时长",
    "stay_time_session": "次均停留时长",
    "visit_depth": "平均访问深度",
}
"""The name of a figure in WeChat's console, by field; a field without one is in no source.

Sources: the heads of the console's downloads of 用户分析 and 内容分析 (全部, a row a day and
channel), as clients that read these files quote them; WeChat's help on 消息分析 and 接口分析;
for mini-programs developers.weixin.qq.com/miniprogram/analysis.  The retired interfaces of
articles have the names of the fields that took the place of theirs.
"""

CONSOLE_OF_ARTICLES: dict[str, str] = {
    "read_user": "总阅读人数",
    "read_count": "总阅读次数",
    "int_page_read_user": "总阅读人数",
    "int_page_read_count": "总阅读次数",
    "share_user": "总分享人数",
    "share_count": "总分享次数",
    "target_user": "送达人数",
    "read_subscribe_user": "阅读后关注人数",
    "read_delivery_rate": "送达阅读率",
    "read_finish_rate": "阅读完成率",
}
"""The same for the totals of an article: the download 已通知内容 of 内容分析, a row an article.

Source: the clients that quote its head.
"""
CONSOLE_DAYS = 7
"""The days from publishing that this download has, by the same clients."""
